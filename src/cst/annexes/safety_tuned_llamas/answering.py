"""Answers to a JSON file of instructions, in the shape of the original's `generate_answers.py`: batched, resumable."""

import json
import logging
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import Field, ValidationError, model_validator

from cst.chat.asking import complete
from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.chat.journal import Journal
from cst.chat.journalled import Journalled
from cst.distribution import version
from cst.errors import DataError, ModelError
from cst.integrity import reject_changed
from cst.miniature import model_folder
from cst.preferences.files import RowFault, shown, strict_value
from cst.records import NOT_WRITTEN_IF_EMPTY, FinishReason, Message, Record, Sampling, Text
from cst.store import fingerprint_of_file, first_complaint, read_json, read_text, write_json

if TYPE_CHECKING:
    from cst.models.loading import LoadedModel


ANSWERS = frozenset({"parameters", "outputs", "finish_reasons"})
"""The keys of a file of answers beside its instructions."""

OPINIONS = frozenset({"judge", "scores", "exhibits"})
"""The keys that `cst score --out` adds to the answers; readers of the answers judge them anew."""


class InstructionFile(Record):
    """Instructions in their order; `inputs` and `tags` are empty, or have one for each instruction.

    An input that is None or empty is none; `inputs` may itself be None, as the original has it.
    """

    inputs: tuple[str | None, ...] | None = ()
    instructions: tuple[Text, ...]
    tags: Annotated[tuple[str, ...] | None, NOT_WRITTEN_IF_EMPTY] = ()

    @model_validator(mode="after")
    def _has_one_for_each(self) -> Self:
        if not self.instructions:
            raise ValueError("instructions is empty; give at least one")
        _reject_uneven(self, inputs=self.inputs or None, tags=self.tags or None)
        return self

    @property
    def messages(self) -> list[Message]:
        """The user's turns: an instruction, and below it the input if there is one."""
        inputs = self.inputs or (None,) * len(self.instructions)
        return [
            Message(role="user", content=f"{instruction}\n{given}" if given else instruction, input=given or "")
            for instruction, given in zip(self.instructions, inputs, strict=True)
        ]


class AnswerFile(InstructionFile):
    """Instructions with an output each, and the parameters that these were made with.

    `finish_reasons` says why each output ended; files that others made have none.
    """

    parameters: Annotated[dict[str, Any], Field(default_factory=dict)]
    outputs: tuple[str, ...]
    finish_reasons: Annotated[tuple[FinishReason, ...], NOT_WRITTEN_IF_EMPTY] = ()

    @model_validator(mode="after")
    def _answers_each(self) -> Self:
        _reject_uneven(self, outputs=self.outputs, finish_reasons=self.finish_reasons or None)
        return self


def _reject_uneven(file: InstructionFile, **columns: Sequence[object] | None) -> None:
    for name, values in columns.items():
        if values is not None and len(values) != len(file.instructions):
            raise ValueError(
                f"instructions has {len(file.instructions)} entries, and {name} has {len(values)}. "
                "Give one for each instruction, in the same order"
            )


F = TypeVar("F", bound=InstructionFile)


def read_instructions(path: Path) -> InstructionFile:
    """The instructions of a file; of a file of answers, what was asked there.

    Raises:
        DataError: The file can't be read, isn't strict JSON, or has another shape; the message names it.
    """
    return _record(path, InstructionFile, without=ANSWERS | OPINIONS)


def read_answers(path: Path) -> AnswerFile:
    """A file of answers, without what a judge said of them. Raises as `read_instructions`."""
    return _record(path, AnswerFile, without=OPINIONS)


def write_answers(path: Path, answers: AnswerFile) -> None:
    """Write a file of answers whole, with its keys in the order of the original's.

    Raises:
        DataError: The system doesn't let it be written; a file that was there is as it was.
    """
    values = answers.model_dump(mode="json")
    write_json(path, {"parameters": values.pop("parameters"), **values})


def _record(path: Path, kind: type[F], *, without: frozenset[str]) -> F:
    try:
        value = strict_value(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno} is not JSON: {error.msg}. Mend the file.") from error
    except RowFault as fault:
        raise DataError(f"{path} {fault}") from fault
    if not isinstance(value, dict):
        raise DataError(f'{path} is {shown(value)}; an object is needed: {{"instructions": [...], "inputs": [...]}}.')
    values = cast(dict[str, object], value)
    try:
        return kind.model_validate({name: each for name, each in values.items() if name not in without})
    except ValidationError as error:
        raise DataError(f"{path}: {first_complaint(error)}") from error


DEFAULT_SAMPLING = Sampling(temperature=0.0, top_p=0.75, top_k=40, num_beams=4, max_new_tokens=256)
"""The original's defaults (generate_answers.py), but for its temperature of 0.1.

There it had no effect, nor had top_p and top_k: `do_sample` was never set, so the four beams searched without drawing.
Here a temperature above 0 is honoured, so a default of 0 does what the original did.
"""

PACKAGES = ("cst", "torch", "transformers", "tokenizers", "peft")

Decoding = Literal["greedy search", "sampling", "beam search", "beam sampling"]


class AnsweringSettings(Record):
    """What decides the answers besides the instructions.

    Without `base_model`, the model is the one that the adapter names as its base.
    """

    base_model: Text | None = None
    lora_weights: Text | None = None
    load_8bit: bool = False
    prompt_template_path: Path | None = None
    sampling: Sampling = DEFAULT_SAMPLING
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    device: Text | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @model_validator(mode="after")
    def _names_a_model(self) -> Self:
        if self.base_model is None and self.lora_weights is None:
            raise ValueError("base_model or lora_weights must name a model: a folder, a hub id, or `miniature`")
        return self

    @property
    def name(self) -> str:
        """The name of the answering model: the adapter's path or hub id, or else the base model's."""
        return self.lora_weights or self.base_model or ""

    @property
    def sampling_used(self) -> Sampling:
        """The sampling; at temperature 0 without the settings of draws, which change no answer and no journal key."""
        asked = self.sampling
        return asked if asked.temperature else Sampling(num_beams=asked.num_beams, max_new_tokens=asked.max_new_tokens)

    @property
    def decoding(self) -> Decoding:
        """How tokens are chosen."""
        if self.sampling.num_beams > 1:
            return "beam sampling" if self.sampling.temperature else "beam search"
        return "sampling" if self.sampling.temperature else "greedy search"


class Parameters(Record):
    """What answers were really made with, which may differ from the settings; the first four are the original's.

    `top_k`, `top_p` and `seed` are None where nothing was drawn.
    """

    model: str
    prompt_template: str | None
    lora_weights: str | None
    load_8bit: bool
    decoding: Decoding
    max_new_tokens: int
    num_beams: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int | None
    batch_size: int
    dtype: str
    device: str
    template_sha256: str
    boundary: str
    end_token: str
    input_sha256: str
    model_fingerprint: str
    fingerprint: str
    versions: dict[str, str]


def parameters_of(
    settings: AnsweringSettings, loaded: "LoadedModel", *, model: str, fingerprint: str, input_sha256: str
) -> Parameters:
    """The parameters of answers that `loaded`, made from `model`, gives; `fingerprint` is the chat model's."""
    sampling, rendering = settings.sampling_used, loaded.renderer.describe()
    template = settings.prompt_template_path
    return Parameters(
        model=model,
        prompt_template=None if template is None else str(template),
        lora_weights=settings.lora_weights,
        load_8bit=settings.load_8bit,
        decoding=settings.decoding,
        batch_size=settings.batch_size,
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        device=loaded.model.device.type,
        input_sha256=input_sha256,
        model_fingerprint=loaded.fingerprint,
        fingerprint=fingerprint,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        **{name: getattr(sampling, name) for name in ("max_new_tokens", "num_beams", "temperature")},
        **{name: getattr(sampling, name) if sampling.temperature else None for name in ("top_k", "top_p", "seed")},
        **{name: getattr(rendering, name) for name in ("template_sha256", "boundary", "end_token")},
    )


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
    from cst.chat.local import LocalChat  # here, so that errors about the files come before torch is imported

    base = settings.base_model or base_of(settings.lora_weights or "")
    loaded = _loaded(base, settings)
    if settings.lora_weights is not None:
        _tell_another_base(settings.lora_weights, base)
    chat = LocalChat(loaded, name=settings.name, batch_size=settings.batch_size)
    with Journal(journal_of(output)) as journal:
        replies = answers_of(Journalled(chat, journal), questions, settings.sampling_used)
    used = parameters_of(settings, loaded, model=base, fingerprint=chat.fingerprint, input_sha256=sha256)
    made = AnswerFile(
        inputs=questions.inputs,
        instructions=questions.instructions,
        tags=questions.tags,
        parameters=used.model_dump(mode="json"),
        outputs=tuple(reply.text for reply in replies),
        finish_reasons=tuple(reply.finish_reason for reply in replies),
    )
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
    """Warn if an adapter names another base model: it fits all models of one shape, and a copy may have any name."""
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
        reject_changed(Path(adapter))
    return load_model(
        model_folder(base),
        dtype=settings.dtype,
        quantization="8bit" if settings.load_8bit else "none",
        device=settings.device,
        adapter=adapter,
        merge_adapter=True,  # where that is exact enough; the journal's key tells merged from unmerged
        chat_template=settings.prompt_template_path,
    )
