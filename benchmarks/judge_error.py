"""A judge that errs at a known rate: how often the card and the corrected score hold the truth, of 1,000 simulations.

    python benchmarks/judge_error.py

Each simulation draws labelled answers and answers to be scored, both with their true sides, and a judge that calls each
side right at its planted rate. The card is made of the labelled ones by `task_cards`; the score is counted from the
judge's verdicts, and corrected with the card. One line of JSON a setting: the share of simulations in which the
interval held the planted rate of the judge, and the true rate of the scored population, raw and corrected.
`half_width` is the corrected interval's mean half width. Coverages are given with the Monte Carlo error of 1,000 runs
in mind: 0.007 at 95 %.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from cst.evaluation.judge_card import LabelledAnswer, corrected, task_cards
from cst.intervals import wilson
from cst.judges import Candidate, Opinion
from cst.records import Prompt, Side


@dataclass(frozen=True)
class Setting:
    """A planted truth.

    `right_revised` and `right_original`: the judge's rates of right verdicts on answers that show either side; `rate`:
    of answers that do what is wanted; `revised_wanted`: the share of them that is to show `revised`; labelled answers
    of each side; answers to score.
    """

    right_revised: float
    right_original: float
    rate: float
    labelled: int = 100
    n: int = 200
    revised_wanted: float = 1.0


SETTINGS = (
    Setting(0.95, 0.90, 0.90),
    Setting(0.95, 0.90, 0.50),
    Setting(0.90, 0.80, 0.97),
    Setting(0.80, 0.80, 0.70),
    Setting(0.99, 0.97, 0.96),
    Setting(0.95, 0.90, 0.90, labelled=50),
    Setting(0.95, 0.90, 0.90, labelled=400, n=1000),
    Setting(0.95, 0.80, 0.90, revised_wanted=0.5),
    Setting(0.95, 0.80, 0.90, revised_wanted=0.25, labelled=400, n=1000),
)


class ErringJudge:
    """A judge that reads the true side off the answer, and says it at its planted rate."""

    name = "erring"

    def __init__(self, setting: Setting, rng: np.random.Generator) -> None:
        self._right = {Side.REVISED: setting.right_revised, Side.ORIGINAL: setting.right_original}
        self._rng = rng

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        """The side that the answer begins with, or now and then the other."""
        sides = [Side(candidate.text.split("\n")[0]) for candidate in candidates]
        draws = self._rng.random(len(sides))
        said = [side if draw < self._right[side] else side.other for side, draw in zip(sides, draws, strict=True)]
        return [Opinion(exhibits=side) for side in said]


PROMPT = Prompt(id="p", text="How?", task="harmless")


def simulate(setting: Setting, runs: int, seed: int) -> dict[str, float]:
    """The shares of runs whose intervals held the truth."""
    rng = np.random.default_rng([seed, SETTINGS.index(setting) if setting in SETTINGS else len(SETTINGS)])
    judge = ErringJudge(setting, rng)
    answers = [LabelledAnswer(prompt=PROMPT, text=side, label=side) for side in Side for _ in range(setting.labelled)]
    held = {"card_recall": 0, "card_specificity": 0, "raw": 0, "corrected": 0}
    undefined, widths = 0, 0.0
    for _ in range(runs):
        (card,) = task_cards(answers, judge, positive=Side.REVISED)
        followed = _followed(setting, judge, rng)
        raw = wilson(followed, setting.n)
        score = corrected(followed, setting.n, raw, card.confusion, revised_wanted=setting.revised_wanted)
        held["card_recall"] += card.figures.recall.low <= setting.right_revised <= card.figures.recall.high
        held["card_specificity"] += (
            card.figures.specificity.low <= setting.right_original <= card.figures.specificity.high
        )
        held["raw"] += raw.low <= setting.rate <= raw.high
        held["corrected"] += score.low <= setting.rate <= score.high
        undefined += score.value is None
        widths += (score.high - score.low) / 2
    shares = {name: count / runs for name, count in held.items()}
    return {**shares, "half_width": round(widths / runs, 4), "undefined": undefined / runs}


def _followed(setting: Setting, judge: ErringJudge, rng: np.random.Generator) -> int:
    """How many of the answers the judge takes to show what was wanted of them."""
    revised = round(setting.n * setting.revised_wanted)
    wanted = [Side.REVISED] * revised + [Side.ORIGINAL] * (setting.n - revised)
    does = rng.random(setting.n) < setting.rate
    shown = [side if followed else side.other for side, followed in zip(wanted, does, strict=True)]
    opinions = judge.opinions([Candidate(prompt=PROMPT, text=side) for side in shown])
    return sum(opinion.exhibits is side for opinion, side in zip(opinions, wanted, strict=True))


def lines(runs: int, seed: int) -> Iterator[dict[str, object]]:
    """Each setting with what came of it."""
    for setting in SETTINGS:
        yield {**asdict(setting), "runs": runs, **simulate(setting, runs, seed)}


def main() -> None:
    """Print every setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for line in lines(asked.runs, asked.seed):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
