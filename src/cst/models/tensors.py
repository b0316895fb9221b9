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
from cst.store import canonical_json

NOTE = "cst"
"""The one metadata key."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: object = None, **metadata: str) -> None:
    """Write tensors and a JSON note about them; renamed into place when it is on the disk.

    `metadata` may hold one plain key that other readers look for, instead of a note.
    """
    if note is not None:
        metadata[NOTE] = canonical_json(note)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.partial")
    with neighbour.open("wb") as file:
        file.write(save(whole, metadata=metadata or None))
        file.flush()
        os.fsync(file.fileno())
    neighbour.replace(path)


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
    except (SafetensorError, OSError) as error:
        raise ModelError(_unreadable(path, error)) from error
    return json.loads(metadata[NOTE]) if metadata and NOTE in metadata else None


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} can't be read as safetensors: {error}. Remove it and make it again."


@contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """Fill the folder that is yielded; at the end it is synced and renamed to `path`, in place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.partial")
    shutil.rmtree(neighbour, ignore_errors=True)
    neighbour.mkdir()
    yield neighbour
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
