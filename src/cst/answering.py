"""Answers to the instructions of a JSON file, in the shape of the original's `generate_answers.py`: batched, resumable.

Every answer is in a journal beside the output before anyone sees it, under a key that holds all that decides it: the
same call goes on where a killed one was, and whatever has changed is asked anew. Importing this file imports no torch.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cst.answer_files import AnswerFile, InstructionFile, read_instructions, write_answers
from cst.answering_settings import AnsweringSettings, Parameters, parameters_of
from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.chat.journal import Journal
from cst.chat.journalled import Journalled
from cst.errors import DataError, ModelError
from cst.integrity import refuse_changed
from cst.records import Sampling
from cst.store import fingerprint_of_file, read_json
from cst.workshop import model_folder

if TYPE_CHECKING:
    from cst.models.loading import LoadedModel

logger = logging.getLogger(__name__)


def generate_answers(input_path: Path, output_path: Path, settings: AnsweringSettings) -> AnswerFile:
    """Answer the instructions of `input_path`, and write the answers where `output_file` says.

    Raises:
        DataError: The file of instructions can't be used, or that of answers can't be written.
        ModelError: The model, its adapter or its template can't be loaded, or a prompt is too long for it.
        RenderingError: The template can't express an instruction.
        RunFolderError: Another process has the journal open, or it is damaged.
    """
    questions, sha256 = read_instructions(input_path), fingerprint_of_file(input_path)
    output = output_file(input_path, output_path, settings.name)
    if output.resolve() == input_path.resolve():
        raise DataError(f"{output} is the file of instructions itself. Name another file or folder for the answers.")
    from cst.chat.local import LocalChat  # here, so that what is wrong with the files is said at once

    base = settings.base_model or base_of(settings.lora_weights or "")
    loaded = _loaded(base, settings)
    if settings.lora_weights is not None:
        _tell_another_base(settings.lora_weights, base)
    chat = LocalChat(loaded, name=settings.name, batch_size=settings.batch_size)
    with Journal(journal_of(output)) as journal:
        replies = answers_of(Journalled(chat, journal), questions, settings.sampling_used)
    used = parameters_of(settings, loaded, model=base, fingerprint=chat.fingerprint, input_sha256=sha256)
    made = _answered(questions, replies, used)
    write_answers(output, made)
    return made


def answers_of(chat: ChatModel, questions: InstructionFile, sampling: Sampling) -> list[ChatReply]:
    """A chat model's reply to each instruction, in order."""
    requests = [
        ChatRequest(id=f"instruction-{number:04d}", messages=(message,))
        for number, message in enumerate(questions.messages, start=1)
    ]
    return complete(chat, requests, sampling, description=f"generate with {chat.name}")


def output_file(input_path: Path, output_path: Path, name: str) -> Path:
    """Where answers are written: `output_path` if it is named like a JSON file, else a file in that folder.

    As in the original it is called FOLDER/NAME/INPUT, by the name of the adapter or model and that of the input's file;
    but an absolute name stays within the folder.
    """
    if output_path.suffix == ".json" and not output_path.is_dir():
        return output_path
    named = Path(name)
    return output_path.joinpath(*(part for part in named.parts if part not in ("..", named.anchor)), input_path.name)


def journal_of(output: Path) -> Path:
    """The journal beside a file of answers; once these are written, it may be deleted."""
    return output.with_name(f"{output.name}.journal.sqlite")


def base_of(adapter: str) -> str:
    """The model that an adapter, a folder or a hub id, says it was made for.

    Raises:
        ModelError: There is no such adapter, or it doesn't say.
    """
    base = _named_base(adapter)
    if base is None:
        raise ModelError(f"The adapter {adapter} doesn't say which model it was made for. Name it with base_model.")
    return base


def _named_base(adapter: str) -> str | None:
    from cst.models.folders import ADAPTER_FILES, adapter_folder

    path = adapter_folder(adapter) / ADAPTER_FILES[0]
    config: object = read_json(path)
    base: object = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return base if isinstance(base, str) and base else None


def _tell_another_base(adapter: str, base: str) -> None:
    """Say so where an adapter names another base model; it fits all of one shape, and a copy may bear any name."""
    named = _named_base(adapter)
    if named is not None and Path(model_folder(named)).name != Path(model_folder(base)).name:
        logger.warning(
            "%s says that it was made for %r, and is put before %r: unless these are the same weights, the answers "
            "are of no model that was tuned.",
            adapter,
            named,
            base,
        )


def _loaded(base: str, settings: AnsweringSettings) -> "LoadedModel":
    from cst.models.loading import load_model

    adapter = settings.lora_weights
    if adapter is not None and Path(adapter).is_dir():
        refuse_changed(Path(adapter))
    return load_model(
        model_folder(base),
        dtype=settings.dtype,
        quantization="8bit" if settings.load_8bit else "none",
        device=settings.device,
        adapter=adapter,
        merge_adapter=True,  # where that is exact enough; the journal's key tells merged from unmerged
        chat_template=settings.prompt_template_path,
    )


def _answered(questions: InstructionFile, replies: Sequence[ChatReply], used: Parameters) -> AnswerFile:
    return AnswerFile(
        inputs=questions.inputs,
        instructions=questions.instructions,
        tags=questions.tags,
        parameters=used.model_dump(mode="json"),
        outputs=tuple(reply.text for reply in replies),
        finish_reasons=tuple(reply.finish_reason for reply in replies),
    )
