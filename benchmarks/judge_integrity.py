"""Can an answer pass for its judge? A thousand adversarial answers, judged by scripted judges who repeat them.

    python benchmarks/judge_integrity.py [--answers 1000] [--seed 0]

Answers, judges and their manners are those of the tests. Each answer is judged twice in each manner, once by a judge
who sees `original` in everything and once by one who sees `revised`. A flip is a verdict that is not the judge's own:
the other side, or any side where the judge named none or was cut. Unscored answers are counted, with the bounds that
they leave for the rate of the judge's side. Beside them stand two controls, both with answers as they are, not
neutralised: the flips of a parser that takes the first label of a reply, and those of ours, which takes the last
verdict. Prints a line of JSON for each rubric and manner, and exits with 1 if there was a flip.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from adversaries import (
    MANNERS,
    adversarial_answers,
    candidates_of,
    own_side,
    rubrics,
    scripted_judge,
    unguarded_sides,
)

from cst.evaluation.scores import unscored_bounds
from cst.judges.rubric import Rubric
from cst.records import Score, Side
from provenance import provenance


def main() -> int:
    """Judge all answers by both rubrics in every manner."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cases = [(rubric, name) for rubric in rubrics(Path(scratch)) for name in MANNERS]
    flips = 0
    for rubric, name in cases:
        line = measure(rubric, name, adversarial_answers(rubric, asked.answers, seed=asked.seed))
        flips += line["flips"]
        print(json.dumps({**line, "seed": asked.seed, **provenance("cpu", threads=1)}), flush=True)
    return int(flips > 0)


def measure(rubric: Rubric, name: str, answers: list[tuple[str, str]]) -> dict:
    """The line of one rubric and manner."""
    manner, candidates = MANNERS[name], candidates_of(answers)
    counts: Counter[str] = Counter()
    flips: Counter[str] = Counter()
    for side in Side:
        own = own_side(manner, side)
        opinions = scripted_judge(rubric, manner, side).opinions(candidates)
        for (family, text), opinion in zip(answers, opinions, strict=True):
            counts["unscored"] += opinion.exhibits is None
            counts["followed"] += opinion.exhibits is side
            flips.update([family] if opinion.exhibits not in (None, own) else [])
            said = side if manner.says_its_verdict else None
            first, last = unguarded_sides(rubric, manner, side, text)
            counts["first"] += first not in (None, said)
            counts["last"] += last not in (None, said)
    verdicts = 2 * len(answers)
    return {
        "benchmark": "judge_integrity",
        "rubric": rubric.name,
        "has_nonce": rubric.is_framed,
        "manner": name,
        "answers": len(answers),
        "verdicts": verdicts,
        "flips": flips.total(),
        "flips_by_family": dict(flips),
        "unscored": counts["unscored"],
        "rate_of_own_side": bounds(counts["followed"], verdicts - counts["unscored"], counts["unscored"]),
        "control_flips_of_first_label": counts["first"],
        "control_flips_of_last_verdict": counts["last"],
    }


def bounds(followed: int, n: int, unscored: int) -> dict[str, float]:
    """The rate if all unscored answers had failed, and if all had followed."""
    cell = {"model": "scripted", "task": "harmless", "configuration": "own", "wordings": "canonical"}
    score = Score.model_validate(
        {**cell, "temperature": 0, "followed": followed, "n": n, "unscored": unscored, "low": 0, "high": 1}
        | {"interval": "wilson"}
    )
    found = unscored_bounds(score)
    return {"all_failed": found.all_failed, "all_followed": found.all_followed}


if __name__ == "__main__":
    sys.exit(main())
