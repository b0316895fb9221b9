"""Tensors on disk: safetensors files and whole folders, written so that a reader sees all of it or nothing.

No pickle. A file's metadata is one JSON value under one key, because safetensors writes several keys in random order
and the same tensors must give the same bytes. This file knows neither models nor training.
"""

import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cst.errors import ModelError
from cst.store import canonical_json, unwritten, writing

NOTE = "cst"
"""The one metadata key."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: object = None, **metadata: str) -> None:
    """Write tensors and a JSON note about them; renamed into place when it is on the disk.

    `metadata` may hold one plain key that other readers look for, instead of a note.

    Raises:
        DataError: The system doesn't let it be written; a file that was there is as it was.
    """
    if note is not None:
        metadata[NOTE] = canonical_json(note)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    neighbour = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with neighbour.open("wb") as file:
                file.write(save(whole, metadata=metadata or None))
                file.flush()
                os.fsync(file.fileno())
            neighbour.replace(path)
        finally:
            neighbour.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file onto the CPU.

    Raises:
        ModelError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(_unreadable(path, error)) from error


def read_note(path: Path) -> Any:  # noqa: ANN401 - JSON is any value
    """The JSON note of a file written by `save_tensors`, or None.

    Raises:
        ModelError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] | None = file.metadata()
        return json.loads(metadata[NOTE]) if metadata and NOTE in metadata else None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ModelError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} can't be read as safetensors: {error}. Remove it and make it again."


@contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """Fill the folder that is yielded; at the end it is synced and renamed to `path`, in place of what was there.

    Raises:
        DataError: The system doesn't let it be written; a folder that was there is as it was, and no half one stays.
    """
    neighbour = path.with_name(f".{path.name}.partial")
    try:
        with writing(path):
            shutil.rmtree(neighbour, ignore_errors=True)
            neighbour.mkdir(parents=True)
            yield neighbour
            _sync_and_rename(neighbour, path)
    except SafetensorError as error:  # what transformers' save_pretrained meets on a full disk
        raise unwritten(path, str(error)) from error
    finally:
        shutil.rmtree(neighbour, ignore_errors=True)


def _sync_and_rename(neighbour: Path, path: Path) -> None:
    for file in neighbour.rglob("*"):
        _sync(file)
    if path.exists():
        shutil.rmtree(path)
    neighbour.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
