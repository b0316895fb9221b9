"""The run folder: which stage's files are there, made from what, and what remains to be done.

The folder is the truth. Each stage leaves a small marker in `stages/`: the key of all it was made from, and the hashes
of the files it made. A stage is done when its marker has today's key and its files have those hashes. A file that was
put there by hand is taken as given, and what depends on it is made again. This file knows no stage by name.
"""

import fcntl
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cst.errors import RunFolderError
from cst.records import Record
from cst.store import fingerprint, fingerprint_of_file, parse_record, read_json, read_text, write_json, writing

Outcome: TypeAlias = Literal["made", "done before", "given"]


@dataclass(frozen=True)
class Stage:
    """One arrow of the method: files in, files out.

    `depends_on` gives all that decides the result besides the input files, as JSON values or records; it is asked only
    when the stage's turn comes. Paths are relative to the folder and may name folders. `work` makes the outputs, and
    may find what a killed run of it left behind; folders in `clears` are emptied first, unless what lies there was
    made from the same.
    """

    name: str
    depends_on: Callable[[], Sequence[object]]
    inputs: Sequence[str]
    outputs: Sequence[str]
    work: Callable[[], None]
    clears: Sequence[str] = ()


class Marker(Record):
    """What a stage was made from, and the hash of each file it made."""

    key: str
    source: Literal["made", "given"]
    outputs: dict[str, str]


class RunFolder:
    """A folder of stages."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def perform(self, stage: Stage) -> Outcome:
        """Bring a stage's files up to date.

        Raises:
            RunFolderError: An input file is missing.
        """
        key = self._key(stage)
        outcome = self._standing(stage, key)
        if outcome is None:
            self._begin(stage, key)
            stage.work()
            self._mark(stage, key, "made")
            self._intent(stage).unlink(missing_ok=True)
            return "made"
        if outcome == "given":
            self._mark(stage, key, "given")
        return outcome

    def work_together(self, stage: Stage, *, first: bool) -> None:
        """Do a stage's work in every one of several processes, and mark it as done in the first of them.

        The work itself must be able to find that it is finished, and let one process alone write.
        """
        key = self._key(stage)
        stage.work()
        if first:
            self._mark(stage, key, "made")
            self._intent(stage).unlink(missing_ok=True)

    def _begin(self, stage: Stage, key: str) -> None:
        intent = self._intent(stage)
        if not intent.exists() or read_json(intent) != key:
            for name in stage.clears:
                shutil.rmtree(self.path / name, ignore_errors=True)
        write_json(intent, key)

    def is_up_to_date(self, stage: Stage) -> bool:
        """Whether `perform` would find nothing to do; False where an input isn't there yet."""
        files = (*stage.inputs, *stage.outputs)
        if self._intent(stage).exists() or not all((self.path / name).exists() for name in files):
            return False
        return self._standing(stage, self._key(stage)) is not None

    def _standing(self, stage: Stage, key: str) -> Literal["done before", "given"] | None:
        """How the stage's files stand; None where they have to be made."""
        if self._intent(stage).exists() or not all((self.path / name).exists() for name in stage.outputs):
            return None
        marker = self._marker(stage)
        if marker is None or marker.outputs != self._hashes(stage.outputs):
            return "given"
        if marker.source == "given":
            return "given"
        return "done before" if marker.key == key else None

    def _key(self, stage: Stage) -> str:
        for name in stage.inputs:
            if not (self.path / name).exists():
                raise RunFolderError(
                    f"Stage {stage.name} needs {self.path / name}, which isn't there. Run the verb that makes it, "
                    "`cst run` for all of them, or put a file of your own in its place."
                )
        return fingerprint(stage.name, list(stage.depends_on()), self._hashes(stage.inputs))

    def _hashes(self, names: Sequence[str]) -> dict[str, str]:
        return {name: fingerprint_of_path(self.path / name) for name in names}

    def _mark(self, stage: Stage, key: str, source: Literal["made", "given"]) -> None:
        marker = Marker(key=key, source=source, outputs=self._hashes(stage.outputs))
        write_json(self._marker_path(stage), marker)

    def _marker(self, stage: Stage) -> Marker | None:
        path = self._marker_path(stage)
        return parse_record(read_text(path), Marker, str(path)) if path.exists() else None

    def _marker_path(self, stage: Stage) -> Path:
        return self.path / "stages" / f"{stage.name}.json"

    def _intent(self, stage: Stage) -> Path:
        """Stands while a stage is at work, so that what a killed one left isn't taken for a file put there by hand."""
        return self.path / "stages" / f"{stage.name}.unfinished"

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder: one process works in it at a time.

        Raises:
            RunFolderError: Another process holds it.
            DataError: The folder can't be written.
        """
        lock = self.path / ".lock"
        with writing(lock):
            self.path.mkdir(parents=True, exist_ok=True)
            lock.touch()
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunFolderError(
                    f"Another cst process is at work in {self.path}. Wait for it, or name another --folder."
                ) from error
            yield


def fingerprint_of_path(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder."""
    if path.is_file():
        return fingerprint_of_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return fingerprint([[str(file.relative_to(path)), fingerprint_of_file(file)] for file in files])
