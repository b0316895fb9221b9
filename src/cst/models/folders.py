"""The files in a folder of a model or adapter: which there are, whether they are safe to open, and their hashes.

Nothing is loaded here. A hub id is fetched into the hub's cache first, so that everything else is about one local
folder. This file does without torch.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from cst.errors import ModelError
from cst.models.instruction_templates import chat_template_in
from cst.store import fingerprint, fingerprint_of_file

CONFIG_FILE = "config.json"

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
    "chat_template.json",
)

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def local_folder(path: str) -> Path:
    """The local folder of a model; a hub id is fetched, safetensors and text files only.

    Raises:
        ModelError: there is no such folder, and the hub gives no such model.
    """
    wanted = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
    return _local(path, "model", wanted, ignored=("*/*", "consolidated*"))


def adapter_folder(adapter: str | Path) -> Path:
    """The local folder of a LoRA adapter, in which its two files are; of a hub id only they are fetched.

    Raises:
        ModelError: there is no such folder, and the hub gives no such adapter; or it isn't in safetensors.
    """
    folder = _local(str(adapter), "adapter", ADAPTER_FILES)
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if missing == [ADAPTER_FILES[1]]:
        raise ModelError(
            f"{adapter} has no {ADAPTER_FILES[1]}. An adapter_model.bin is a pickle, which can run code when opened: "
            "cst never opens one. Where you trust it, peft converts it: load it and save it anew with "
            "save_pretrained, which writes safetensors."
        )
    if missing:
        raise ModelError(f"{adapter} holds no adapter: {' and '.join(ADAPTER_FILES)} are needed. Name an adapter.")
    return folder


def _local(path: str, kind: str, wanted: Sequence[str], ignored: Sequence[str] = ()) -> Path:
    local = Path(path).expanduser()
    if path and local.is_dir():
        return local
    if local.exists() or not _HUB_ID.fullmatch(path) or path.startswith("."):
        raise ModelError(f"No {kind} folder at {path!r}. Give the path of a Hugging Face {kind} folder, or a hub id.")
    from huggingface_hub import snapshot_download  # imported where a hub is asked: it takes half a second
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(path, allow_patterns=list(wanted), ignore_patterns=list(ignored)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"{path!r} is no folder here, and the hub doesn't give it: {first_line(error)}. Mend the path, or "
            f"download the {kind} first (`hf download`)."
        ) from error


def reject_code(folder: Path) -> None:
    """No file of the folder may ask for code of its own, because that would run a stranger's program.

    Raises:
        ModelError: one does, or can't be read.
    """
    for name in (CONFIG_FILE, "tokenizer_config.json"):
        asked = _json(folder / name).get("auto_map") if (folder / name).is_file() else None
        if asked:
            raise ModelError(
                f"{folder / name} asks for code of its own (auto_map={json.dumps(asked)[:120]}); cst never runs a "
                "model's code (trust_remote_code). Where transformers knows the architecture by itself, use a copy "
                "of the folder without auto_map; otherwise choose another model."
            )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, in order.

    Raises:
        ModelError: there are none, or the folder holds no model.
    """
    if not (folder / CONFIG_FILE).is_file():
        adapter = (
            " (it is an adapter: name its model, and this as the adapter)"
            if (folder / ADAPTER_FILES[0]).is_file()
            else ""
        )
        raise ModelError(f"{folder} holds no model: config.json is missing{adapter}. Name a Hugging Face model folder.")
    found = sorted(path for path in folder.glob("*.safetensors") if path.name != ADAPTER_FILES[1])
    if found:
        return found
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder} has its weights in pickle files only ({', '.join(pickles[:3])}), which can run code when "
            "opened; cst reads safetensors. Convert them where you trust them: "
            "model.save_pretrained(folder) in transformers writes safetensors."
        )
    raise ModelError(f"{folder} has no weights: there is no *.safetensors file. Restore or re-download the model.")


def damaged(place: Path, error: Exception) -> ModelError:
    """The error for a folder or file that can't be loaded."""
    return ModelError(
        f"{place} can't be loaded: {first_line(error)}. Check that the folder is complete "
        "and that transformers knows the architecture."
    )


def folder_fingerprint(folder: Path, weights: list[Path], template: str | None, adapter: Path | None) -> str:
    """SHA-256 over the bytes of weights, configuration, tokenizer and template, the template given, and the adapter."""
    files = [*weights, *(folder / name for name in (CONFIG_FILE, *TOKENIZER_FILES))]
    parts = [(path.name, fingerprint_of_file(path)) for path in files if path.is_file()]
    tuned = [] if adapter is None else [adapter / name for name in ADAPTER_FILES]
    return fingerprint(parts, template, [(path.name, fingerprint_of_file(path)) for path in tuned])


def model_fingerprint(path: str, *, chat_template: str | Path | None = None) -> str:
    """The fingerprint that `load_model` would give a model without adapter; weights are hashed and not loaded.

    Raises:
        ModelError: there is no such model, or its files can't be used.
    """
    folder = local_folder(path)
    template = None if chat_template is None else template_text(Path(chat_template))
    return folder_fingerprint(folder, weight_files(folder), template, None)


def template_text(path: Path) -> str:
    """A chat template from a file, as Jinja; an Alpaca-style template in JSON becomes one.

    Raises:
        ModelError: the file can't be read.
        RenderingError: it is JSON, and no instruction template.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"The chat template {path} can't be read: {error}. Give a file in UTF-8: Jinja, or Alpaca-style JSON."
        ) from error
    return chat_template_in(text, path)


def _json(path: Path) -> dict[str, Any]:
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read as JSON: {error}. Restore or re-download the model.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds {type(value).__name__}, not an object. Restore or re-download the model.")
    return cast(dict[str, Any], value)


def first_line(error: Exception) -> str:
    """The first line of a library's message."""
    text = str(error).strip()
    return (text.splitlines()[0].rstrip(".") if text else type(error).__name__)[:300]
