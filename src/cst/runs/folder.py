"""The run folder: which stage's files are there, made from what, and what remains to be done.

The folder is the truth. Each stage leaves a small marker in `stages/`: the key of all it was made from, and the hashes
of the files it made. A stage is done when its marker has today's key and its files have those hashes. A file that was
there before its stage ever ran is taken as given. One that has changed since is refused, unless the folder is to be
brought up to date with such changes: then it counts as given, too, and what depends on it is made again. This file
knows no stage by name.
"""

import fcntl
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from cst.errors import RunFolderError
from cst.integrity import (
    RECIPE,
    Source,
    changed,
    hashes,
    intent_path,
    marker_path,
    read_marker,
    refusal,
    reject_changed,
    write_marker,
)
from cst.recipe import Recipe
from cst.records import SafetyConfiguration
from cst.store import fingerprint, read_json, write_json, writing

Outcome: TypeAlias = Literal["made", "done before", "given"]


@dataclass(frozen=True)
class Stage:
    """One arrow of the method: files in, files out.

    `depends_on` gives all that decides the result besides the input files, as JSON values or records; it is asked only
    when the stage's turn comes. Paths are relative to the folder and may name folders. `work` makes the outputs, and
    may find what a killed run of it left behind; folders in `clears` are emptied first, unless what lies there was
    made from the same. `by_products` are files that work may leave besides and that others read; unlike outputs, they
    may be deleted.
    """

    name: str
    depends_on: Callable[[], Sequence[object]]
    inputs: Sequence[str]
    outputs: Sequence[str]
    work: Callable[[], None]
    clears: Sequence[str] = ()
    by_products: Sequence[str] = ()


class RunFolder:
    """A folder of stages; with `update`, files that have changed since their stage ran count as given."""

    def __init__(self, path: Path, *, update: bool = False) -> None:
        self.path = path
        self._update = update

    def perform(self, stage: Stage) -> Outcome:
        """Bring a stage's files up to date.

        Raises:
            RunFolderError: An input file is missing; or a file of the stage has changed since it was made or given, and
                the folder isn't opened with `update`.
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
        """Whether `perform` would find nothing to do; False where an input isn't there yet.

        Raises:
            RunFolderError: As for `perform`.
        """
        files = (*stage.inputs, *stage.outputs)
        if self._intent(stage).exists() or not all((self.path / name).exists() for name in files):
            return False
        return self._standing(stage, self._key(stage)) is not None

    def _standing(self, stage: Stage, key: str) -> Literal["done before", "given"] | None:
        """How the stage's files stand; None where they have to be made."""
        if self._intent(stage).exists() or not all((self.path / name).exists() for name in stage.outputs):
            return None
        path = marker_path(self.path, stage.name)
        marker = read_marker(path) if path.exists() else None
        if marker is None or not marker.outputs.keys() >= set(stage.outputs):
            return "given"
        changes = changed(self.path, marker, within=self.path)
        if changes and not self._update:
            raise refusal(self.path, marker, changes[0])
        if changes or marker.source == "given":
            return "given"
        return "done before" if marker.key == key else None

    def _key(self, stage: Stage) -> str:
        for name in stage.inputs:
            if not (self.path / name).exists():
                raise RunFolderError(
                    f"Stage {stage.name} needs {self.path / name}, which isn't there. Run the verb that makes it, "
                    "`cst run` for all of them, or put a file of your own in its place."
                )
        return fingerprint(stage.name, list(stage.depends_on()), hashes(self.path, stage.inputs))

    def _mark(self, stage: Stage, key: str, source: Source) -> None:
        write_marker(self.path, stage.name, key, source, outputs=stage.outputs, by_products=stage.by_products)

    def _intent(self, stage: Stage) -> Path:
        return intent_path(self.path, stage.name)

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


def keep_recipe(recipe: Recipe, folder: Path, configurations: Sequence[SafetyConfiguration], *, update: bool) -> None:
    """Write the resolved recipe and its configurations.

    Raises:
        RunFolderError: As for `reject_another_recipe`, unless `update` is set.
    """
    if not update:
        reject_another_recipe(recipe, folder)
    write_json(folder / "recipe.json", recipe.model_dump(mode="json"))
    if configurations:
        write_json(folder / "configurations.json", list(configurations))
    written = ["recipe.json", *(["configurations.json"] if configurations else [])]
    write_marker(folder, RECIPE, fingerprint(recipe), "made", outputs=written)


def reject_another_recipe(recipe: Recipe, folder: Path) -> None:
    """Make sure that the folder holds no other recipe's run.

    Raises:
        RunFolderError: It does, or its recipe.json is damaged.
    """
    path, today = folder / "recipe.json", recipe.model_dump(mode="json")
    reject_changed(path)
    before = read_json(path) if path.exists() else today
    if before != today:
        changed = sorted(key for key in {*before, *today} if before.get(key) != today.get(key))
        raise RunFolderError(
            f"{folder} holds a run of another recipe (changed: {', '.join(changed)}). Name another --folder, or pass "
            "--update to make again what the change touches."
        )
