"""What a run folder holds that a report needs: files in, records out.

Every file is optional; those that aren't there are named, so that a report can say so and go on. Of other rooms' files
only the fields that a report shows are read. This file does not know how they are shown.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, Field, ValidationError

from cst.errors import DataError, RunFolderError
from cst.evaluation.capability import CapabilityScore
from cst.evaluation.comparisons import PairedTest
from cst.evaluation.judge_card import CorrectedScore, JudgeCard, PanelAgreement
from cst.evaluation.robustness import LengthMatchedScore
from cst.evaluation.scores import CurvePoint
from cst.evaluation.sweep import Sweep
from cst.records import Completion, Demonstration, Preference, Record, SafetyConfiguration, Score, Verdict
from cst.store import first_complaint, parse_record, read_json, read_records, read_text

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class _Glimpse(Record):
    """A record of another room, of which only some fields are of interest."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TaskSynthesis(_Glimpse):
    """How many of one task's prompts gave pairs, and why the others did not."""

    task: str
    prompts: int
    pairs: int
    drops: dict[str, int]


class ConfigurationLogps(_Glimpse):
    """Mean summed log-probs of a step's rows under one configuration, in nats."""

    chosen_logps: float
    rejected_logps: float
    reference_chosen_logps: float
    reference_rejected_logps: float


class ValidationLoss(_Glimpse):
    """What an evaluation says of supervised tuning: the loss of so many validation rows, in nats a token."""

    loss: float | None = None
    rows: int | None = None


class TrainingStep(_Glimpse):
    """One optimizer step; preference tuning alone has configurations, and supervised tuning a validation loss."""

    step: int
    loss: float
    configurations: dict[str, ConfigurationLogps] = Field(default_factory=dict[str, ConfigurationLogps])
    sinking: tuple[str, ...] = ()
    evaluation: ValidationLoss | None = None


@dataclass
class Evidence:
    """The records of one run folder; lists are empty where `missing` names their file.

    `scores` are those of prompts as they are, `framed` those of prompts put in other ways. A run may do without a
    judge's card; scores are corrected by one alone. Rows are preferences, or demonstrations in supervised tuning.
    """

    name: str
    recipe: dict[str, Any] | None
    fingerprints: Any
    configurations: list[SafetyConfiguration]
    scores: list[Score]
    framed: list[Score]
    switch_rates: list[Score]
    switch_tests: list[PairedTest]
    length_matched: list[LengthMatchedScore]
    tests: list[PairedTest]
    agreement: list[PanelAgreement]
    curve: list[CurvePoint]
    capability: list[CapabilityScore]
    completions: list[Completion]
    verdicts: list[Verdict]
    synthesis: list[TaskSynthesis]
    preferences: dict[str, list[Preference]]
    demonstrations: dict[str, list[Demonstration]]
    metrics: dict[str, list[TrainingStep]]
    card: JudgeCard | None = None
    corrected: list[CorrectedScore] = field(default_factory=list[CorrectedScore])
    sweep: Sweep | None = None
    missing: list[str] = field(default_factory=list[str])

    @property
    def is_supervised(self) -> bool:
        """Whether the recipe tunes on demonstrations instead of preferences."""
        return _is_supervised(self.recipe)

    @property
    def models(self) -> list[str]:
        """The trained models in the recipe's order; others that left metrics come after them."""
        named = [name for name in (self.recipe or {}).get("models") or {} if name in self.metrics]
        return list(dict.fromkeys([*named, *self.metrics]))

    @property
    def judges(self) -> list[str]:
        """Who judged the answers."""
        return sorted({verdict.judge for verdict in self.verdicts})

    @property
    def note(self) -> str:
        """The recipe's sentence to the reader."""
        return str((self.recipe or {}).get("note") or "")

    @property
    def boundary(self) -> str | None:
        """How the model's template parts its turns, `strong` or `weak`; None where it wasn't recorded."""
        return ((self.fingerprints or {}).get("rendering") or {}).get("boundary")


def _is_supervised(recipe: dict[str, Any] | None) -> bool:
    """Whether a resolved recipe tunes on demonstrations; where there is none, it doesn't."""
    return ((recipe or {}).get("training") or {}).get("method") == "sft"


@dataclass
class _Reader:
    """Reads the files of a folder and remembers the ones that aren't there."""

    folder: Path
    missing: list[str] = field(default_factory=list[str])

    def optional(self, name: str, read: Callable[[Path], T], default: T) -> T:
        path = self.folder / name
        if path.is_file():
            return read(path)
        self.missing.append(name)
        return default

    def listed(self, name: str, kind: type[R]) -> list[R]:
        """The records of a JSONL file, or of a JSON file that holds a list."""
        read = read_records if name.endswith(".jsonl") else _listed
        return self.optional(name, lambda path: read(path, kind), [])

    def per_model(self, pattern: str, kind: type[R]) -> dict[str, list[R]]:
        """Files of which there is one a model; `*` in the pattern is its name."""
        depth = next(depth for depth, part in enumerate(pattern.split("/")) if "*" in part)
        found = sorted(self.folder.glob(pattern))
        if not found:
            self.missing.append(pattern)
        return {
            path.relative_to(self.folder).parts[depth].removesuffix(".jsonl"): read_records(path, kind)
            for path in found
        }


def _listed(path: Path, kind: type[R]) -> list[R]:
    values = read_json(path)
    if not isinstance(values, list):
        raise DataError(f"{path} is no list of {kind.__name__}. Remove it, or run the stage that makes it.")
    try:
        return [kind.model_validate(value) for value in cast(list[Any], values)]
    except ValidationError as error:
        raise DataError(f"{path} is no list of {kind.__name__}: {first_complaint(error)}") from error


def _one(path: Path, kind: type[R]) -> R:
    """A file that holds one record."""
    return parse_record(read_text(path), kind, str(path))


def read_evidence(folder: Path) -> Evidence:
    """Read what there is.

    Raises:
        RunFolderError: there is no such folder.
        DataError: a file is there and can't be read.
    """
    if not folder.is_dir():
        raise RunFolderError(f"There is no run folder {folder}; name one, or make it with `cst run`.")
    reader, card_path = _Reader(folder), folder / "judge_card.json"
    card = _one(card_path, JudgeCard) if card_path.is_file() else None
    recipe: dict[str, Any] | None = reader.optional("recipe.json", read_json, None)
    scores, supervised = reader.listed("scores.json", Score), _is_supervised(recipe)
    sweeps = ((recipe or {}).get("mixture") or {}).get("safety")  # elsewhere no sweep.json is missed
    return Evidence(
        name=str((recipe or {}).get("name") or folder.resolve().name),
        recipe=recipe,
        fingerprints=reader.optional("fingerprints.json", read_json, None),
        configurations=reader.listed("configurations.json", SafetyConfiguration),
        scores=[score for score in scores if score.framing is None],
        framed=[score for score in scores if score.framing is not None],
        switch_rates=reader.listed("switch_rates.json", Score),
        switch_tests=reader.listed("switch_tests.json", PairedTest),
        length_matched=reader.listed("length_matched.json", LengthMatchedScore),
        tests=reader.listed("paired_tests.json", PairedTest),
        agreement=reader.listed("agreement.json", PanelAgreement),
        curve=reader.listed("curve.json", CurvePoint),
        capability=reader.listed("capability.json", CapabilityScore),
        completions=reader.listed("completions.jsonl", Completion),
        verdicts=reader.listed("verdicts.jsonl", Verdict),
        synthesis=[] if supervised else reader.listed("synthesis.json", TaskSynthesis),
        preferences={} if supervised else reader.per_model("preferences/*.jsonl", Preference),
        demonstrations=reader.per_model("demonstrations/*.jsonl", Demonstration) if supervised else {},
        metrics=reader.per_model("models/*/metrics.jsonl", TrainingStep),
        card=card,
        corrected=reader.listed("corrected_scores.json", CorrectedScore) if card else [],
        sweep=reader.optional("sweep.json", lambda path: _one(path, Sweep), None) if sweeps else None,
        missing=reader.missing,
    )
