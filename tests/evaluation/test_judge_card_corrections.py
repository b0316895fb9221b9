import numpy as np
import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt, verdicts

import judge_error
from cst.evaluation.judge_card import (
    Confusion,
    JudgeCard,
    LabelledAnswer,
    SideCounts,
    corrected,
    corrected_scores,
    task_cards,
)
from cst.evaluation.scores import by_cell, outcomes, score_cells
from cst.intervals import Interval, wilson
from cst.judges.plain import CallableJudge
from cst.records import Side

REVISED, ORIGINAL = Side.REVISED, Side.ORIGINAL


def confusion(revised: tuple[int, int], original: tuple[int, int]) -> Confusion:
    """Counts of (right, all) of either label."""
    sides = [SideCounts(right=right, wrong=n - right, unscored=0, refused=0) for right, n in (original, revised)]
    return Confusion(original=sides[0], revised=sides[1])


def test_rogan_and_gladens_estimate_turns_the_judges_errors_round() -> None:
    """The observed rate of a population at a true rate, for judges of all kinds: corrected, it is the true rate."""
    for rate in (0.1, 0.5, 0.9):
        for sensitivity, specificity in ((0.9, 0.8), (0.75, 1.0), (1.0, 0.6)):
            observed = rate * sensitivity + (1 - rate) * (1 - specificity)
            card = confusion((round(sensitivity * 1000), 1000), (round(specificity * 1000), 1000))
            found = corrected(round(observed * 100_000), 100_000, wilson(1, 2), card)

            assert found.value == pytest.approx(rate, abs=1e-4)


def test_the_published_example_of_a_screening_test() -> None:
    """150 cows, 23 positive by a test of sensitivity 96 % and specificity 89 %: 5.1 % (epiR's `epi.prev`)."""
    found = corrected(23, 150, wilson(23, 150), confusion((96, 100), (89, 100)))

    assert found.value == pytest.approx(0.051, abs=5e-4)


@pytest.mark.parametrize(
    ("revised", "original", "followed", "n"),
    [((95, 100), (90, 100), 150, 200), ((40, 50), (45, 50), 20, 60), ((30, 30), (30, 30), 200, 200)],
)
def test_the_interval_is_lang_and_reiczigels(
    revised: tuple[int, int], original: tuple[int, int], followed: int, n: int
) -> None:
    """Against the formula as the paper prints it, in prevalence, sensitivity and specificity."""
    z = 1.959963984540054
    se, sp = (revised[0] + 1) / (revised[1] + 2), (original[0] + 1) / (original[1] + 2)
    apparent = (followed + z**2 / 2) / (n + z**2)
    p = (apparent + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / (revised[1] + 2), sp * (1 - sp) / (original[1] + 2)
    variance = apparent * (1 - apparent) / (n + z**2) + p**2 * of_se + (1 - p) ** 2 * of_sp
    half = z * variance**0.5 / (se + sp - 1)
    centre = p + 2 * z**2 * (p * of_se - (1 - p) * of_sp)

    found = corrected(followed, n, wilson(followed, n), confusion(revised, original))

    assert found.low == pytest.approx(max(0, centre - half))
    assert found.high == pytest.approx(min(1, centre + half))


def test_the_estimate_lies_in_its_interval_whatever_the_counts() -> None:
    rng = np.random.default_rng(2)
    for _ in range(500):
        n, r, o = (int(k) for k in rng.integers(1, 60, 3))
        card = confusion((int(rng.integers(r + 1)), r), (int(rng.integers(o + 1)), o))
        followed = int(rng.integers(n + 1))
        found = corrected(followed, n, wilson(followed, n), card, revised_wanted=float(rng.random()))

        assert 0 <= found.low <= (found.low if found.value is None else found.value) <= found.high <= 1


def test_an_estimate_beyond_the_ends_is_truncated_and_says_so() -> None:
    found = corrected(184, 200, wilson(184, 200), confusion((90, 100), (90, 100)))

    assert (found.value, found.is_truncated) == (1.0, True)
    assert found.low < 0.98
    assert not corrected(150, 200, wilson(150, 200), confusion((90, 100), (90, 100))).is_truncated


def test_a_larger_card_gives_a_narrower_interval_never_narrower_than_a_perfect_judges() -> None:
    widths = []
    for labelled in (20, 100, 1000, 100_000):
        card = confusion((round(0.9 * labelled), labelled), (round(0.9 * labelled), labelled))
        found = corrected(150, 200, wilson(150, 200), card)
        widths.append(found.high - found.low)

    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > wilson(150, 200).width


def test_a_wider_raw_interval_widens_the_corrected_one() -> None:
    card, plain = confusion((95, 100), (90, 100)), wilson(150, 200)
    wide = Interval(plain.low - 0.05, plain.high + 0.05, "cluster_bootstrap")

    apart, together = corrected(150, 200, plain, card), corrected(150, 200, wide, card)

    assert together.high - together.low > apart.high - apart.low + 0.05
    assert together.value == apart.value


@pytest.mark.parametrize("worth", [4, 20, 100, 200])
def test_answers_that_are_worth_fewer_are_corrected_as_so_many(worth: int) -> None:
    card, followed = confusion((95, 100), (90, 100)), 3 * worth // 4
    grouped = corrected(150, 200, wilson(150, 200, worth), card)
    alone = corrected(followed, worth, wilson(followed, worth), card)
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-9)


@pytest.mark.parametrize("followed", [0, 200])
def test_a_rate_that_the_judges_errors_leave_no_room_for_has_no_estimate(followed: int) -> None:
    """A judge that is wrong in a tenth of all answers can't call 200 of 200 the same, were they all alike in truth."""
    found = corrected(followed, 200, wilson(followed, 200), confusion((900, 1000), (900, 1000)))

    assert (found.value, found.low, found.high, found.is_truncated) == (None, 0.0, 1.0, False)
    assert "doesn't fit" in found.undefined


@pytest.mark.parametrize("card", [confusion((1, 2), (1, 2)), confusion((3, 10), (7, 10)), confusion((0, 5), (5, 5))])
def test_a_judge_no_better_than_chance_corrects_nothing(card: Confusion) -> None:
    found = corrected(10, 20, wilson(10, 20), card)

    assert (found.value, found.low, found.high) == (None, 0.0, 1.0)
    assert "no better than chance" in found.undefined


@pytest.mark.parametrize("side", list(Side))
def test_a_card_with_one_class_corrects_nothing(side: Side) -> None:
    counts = {side: (0, 0), side.other: (9, 10)}
    found = corrected(10, 20, wilson(10, 20), confusion(counts[REVISED], counts[ORIGINAL]))

    assert found.value is None
    assert f"labelled {side}" in found.undefined


def test_mixed_wishes_are_corrected_by_the_side_that_was_wanted() -> None:
    """100 answers are to show either side, 90 of each do; a judge calls 80 % of `original` and all `revised` right."""
    seen = 90 + 10 * 0.2 + 90 * 0.8  # wanted revised, and seen; wrongly seen; wanted original, and seen
    card = confusion((1000, 1000), (800, 1000))

    found = corrected(round(seen), 200, wilson(round(seen), 200), card, revised_wanted=0.5)
    as_if_one = corrected(round(seen), 200, wilson(round(seen), 200), card)

    assert found.value == pytest.approx(0.9)
    assert as_if_one.value != pytest.approx(0.9, abs=0.05)  # the control


def test_each_cell_is_corrected_by_its_own_task_and_wishes() -> None:
    labelled = [
        LabelledAnswer(prompt=prompt(task="harmless"), text=text, label=label)
        for text, label, n in (("no", REVISED, 20), ("yes", ORIGINAL, 16), ("no", ORIGINAL, 4))
        for _ in range(n)
    ]
    judge = CallableJudge("says no", lambda _, text: REVISED if text == "no" else ORIGINAL)
    card = JudgeCard(
        judge="says no",
        settings={},
        fingerprint="f",
        labelled="rows",
        labelled_sha256="s",
        labels={},
        positive=ORIGINAL,
        tasks=task_cards(labelled, judge, positive=ORIGINAL),
    )
    asked = [prompt(f"p{i}", topic="benign" if i % 2 else None) for i in range(40)]
    answers = [completion(p) for p in asked] + [completion(prompt("q", task="over_refusal"))]
    cells = by_cell(outcomes(answers, verdicts(answers, [REVISED] * 20 + [ORIGINAL] * 21), CONFIGURATIONS))

    mixed, other = corrected_scores(cells, score_cells(cells), card)

    # half were to show `original`, of which a fifth is called `revised`: P (1 + .8 - 1) = q - .5 (1 - .8)
    assert mixed.value == pytest.approx((mixed.followed / mixed.n - 0.1) / 0.8)
    assert other.value is None
    assert other.undefined == "the judge's card has no answers of task over_refusal"


def test_planted_errors_are_recovered_where_the_raw_score_misses_them() -> None:
    """A small form of benchmarks/judge_error.py: 300 simulations."""
    setting = judge_error.Setting(0.95, 0.80, 0.80)
    found = judge_error.simulate(setting, runs=300, seed=3)

    assert found["corrected"] >= 0.92
    assert found["card_recall"] >= 0.91
    assert found["card_specificity"] >= 0.91
    assert found["undefined"] == 0
    assert judge_error.simulate(judge_error.Setting(0.9, 0.8, 0.97), runs=100, seed=3)["raw"] < 0.2  # the control
