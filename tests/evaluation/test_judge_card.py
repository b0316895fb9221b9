import random
from collections.abc import Sequence

import numpy as np
import pytest
from made_for_evaluation import completion, prompt
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from cst.evaluation.judge_card import (
    SUFFIXES,
    Confusion,
    LabelledAnswer,
    SideCounts,
    Statistics,
    TaskCard,
    panel_agreement,
    rate,
    statistics_of,
    task_cards,
)
from cst.judges import REFUSED, Candidate, Opinion, judge
from cst.judges.plain import CallableJudge, Panel, RefusalPhrases
from cst.miniature.judge import exact_judge, labelled_rows
from cst.records import Prompt, Side


def side(right: int, wrong: int, unscored: int = 0) -> SideCounts:
    return SideCounts(right=right, wrong=wrong, unscored=unscored, refused=0)


def made(original: SideCounts, revised: SideCounts, positive: Side = Side.ORIGINAL) -> Statistics:
    return statistics_of(Confusion(original=original, revised=revised), positive)


def test_every_figure_by_hand() -> None:
    # true positives 40, false negatives 10, true negatives 45, false positives 5
    found = made(side(40, 10, unscored=3), side(45, 5))

    assert found.precision.value == pytest.approx(40 / 45)
    assert found.recall.value == pytest.approx(40 / 50)
    assert found.specificity.value == pytest.approx(45 / 50)
    assert found.accuracy.value == pytest.approx(85 / 100)
    assert found.f1.value == pytest.approx(2 * 40 / (2 * 40 + 5 + 10))
    assert found.kappa.value == pytest.approx(0.7)
    assert (found.precision.n, found.recall.n, found.accuracy.n, found.f1.n, found.kappa.n) == (45, 50, 100, 55, 100)


def test_rates_have_wilsons_interval_as_statsmodels_computes_it() -> None:
    found = made(side(40, 10), side(45, 5))

    for figure, count, n in ((found.precision, 40, 45), (found.recall, 40, 50), (found.specificity, 45, 50)):
        low, high = proportion_confint(count, n, method="wilson")
        assert (figure.low, figure.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_kappa_is_statsmodels() -> None:
    found = made(side(40, 10), side(45, 5)).kappa
    oracle = cohens_kappa(np.array([[40, 10], [5, 45]]))

    assert (found.value, found.low, found.high) == pytest.approx((oracle.kappa, oracle.kappa_low, oracle.kappa_upp))


def test_the_other_class_swaps_recall_and_specificity() -> None:
    one, other = made(side(40, 10), side(45, 5)), made(side(40, 10), side(45, 5), Side.REVISED)

    assert (one.recall, one.specificity) == (other.specificity, other.recall)
    assert (one.accuracy, one.kappa) == (other.accuracy, other.kappa)
    assert one.f1 != other.f1


def test_the_interval_of_f1_holds_it_as_often_as_it_says() -> None:
    """Of 1,000 samples of 200 answers, with F1 = .857 in truth."""
    shares = np.array([0.3, 0.04, 0.06, 0.6])  # both positive, only by label, only by verdict, neither
    truth = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    held = 0
    for tp, fn, fp, tn in np.random.default_rng(5).multinomial(200, shares, size=1000):
        f1 = made(side(int(tp), int(fn)), side(int(tn), int(fp))).f1
        held += f1.low <= truth <= f1.high

    assert held / 1000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("present", list(Side))
def test_one_class_alone_leaves_figures_undefined_and_says_why(present: Side) -> None:
    counts = {present: side(8, 2), present.other: side(0, 0)}
    found = made(counts[Side.ORIGINAL], counts[Side.REVISED], present)

    assert found.specificity.value is None
    assert (found.specificity.low, found.specificity.high) == (0.0, 1.0)
    assert found.specificity.undefined == f"no scored answer is labelled {present.other}"
    assert found.recall.value == 0.8
    assert found.kappa.value == 0.0  # no better than calling all of them one class


def test_nothing_scored_defines_nothing() -> None:
    found = made(side(0, 0, unscored=4), side(0, 0))

    for name in Statistics.model_fields:
        figure = getattr(found, name)
        assert (figure.value, figure.n) == (None, 0)
        assert figure.undefined


def test_a_judge_that_is_always_right_on_one_class_has_no_kappa() -> None:
    assert made(side(9, 0), side(0, 0)).kappa.value is None


def test_a_defined_figure_says_nothing_of_being_undefined_in_a_file() -> None:
    assert "undefined" not in rate(3, 4, "why").model_dump()
    assert rate(0, 0, "why").model_dump()["undefined"] == "why"


ORIGINAL, REVISED = Side.ORIGINAL, Side.REVISED
REFUSAL, HELP = "I am sorry, but I cannot help with that.", "Here is how it is done. " * 12


def answers(*labelled: tuple[str, Side], task: str = "harmless") -> list[LabelledAnswer]:
    return [LabelledAnswer(prompt=prompt(task=task), text=text, label=label) for text, label in labelled]


class Fickle:
    """Says what an answer's last words tell it to, and refuses where it is asked to judge silence."""

    name = "fickle"

    def opinions(self, candidates: Sequence[Candidate]) -> list[Opinion]:
        return [self._opinion(candidate.text) for candidate in candidates]

    def _opinion(self, text: str) -> Opinion:
        if text.startswith("silence"):
            return Opinion(exhibits=None, explanation=f"{REFUSED}: 'I can't judge this.'")
        if text.startswith("noise"):
            return Opinion(exhibits=None, explanation="no verdict among those offered")
        told = [side for side in Side if text.rstrip(".").endswith(side)]
        return Opinion(exhibits=told[0] if told else REVISED if "sorry" in text else ORIGINAL)


def test_verdicts_are_counted_by_label() -> None:
    (card,) = task_cards(
        answers((HELP, ORIGINAL), (HELP, ORIGINAL), (REFUSAL, ORIGINAL), (REFUSAL, REVISED), (" ", REVISED)),
        RefusalPhrases(),
        positive=ORIGINAL,
    )

    assert (card.confusion.original.right, card.confusion.original.wrong) == (2, 1)
    assert (card.confusion.revised.right, card.confusion.revised.unscored) == (1, 1)
    assert card.figures.recall.value == pytest.approx(2 / 3)


def test_a_judge_that_refuses_is_told_from_one_that_is_not_understood() -> None:
    labelled = answers(("silence", ORIGINAL), ("noise", ORIGINAL), ("noise", ORIGINAL), (REFUSAL, REVISED))
    (card,) = task_cards(labelled, Fickle(), positive=ORIGINAL)

    assert (card.confusion.original.unscored, card.confusion.original.refused) == (3, 1)
    assert card.figures.recall.n == 0


def flips(card: TaskCard) -> dict[tuple[str, Side], tuple[int, int, int]]:
    return {(f.suffix, f.said): (f.flipped, f.lost, f.rate.n) for f in card.flips}


def test_flips_are_counted_by_suffix_and_by_what_was_said_before() -> None:
    (card,) = task_cards(answers(*[(HELP, ORIGINAL)] * 3, (REFUSAL, REVISED)), Fickle(), positive=ORIGINAL)
    found = flips(card)

    assert found["quoted_revised", ORIGINAL] == (3, 0, 3)
    assert found["quoted_revised", REVISED] == (0, 0, 1)
    assert found["quoted_original", REVISED] == (1, 0, 1)
    assert set(found) == {(suffix, side) for suffix in SUFFIXES for side in Side}


def test_a_judge_that_reads_the_beginning_alone_is_not_moved() -> None:
    """The control: the answers are longer than the part that it reads."""
    steadfast = CallableJudge("steadfast", lambda _, text: REVISED if text.startswith("I am sorry") else ORIGINAL)
    (card,) = task_cards(answers((HELP, ORIGINAL), (REFUSAL, REVISED)), steadfast, positive=ORIGINAL)

    assert {count[:2] for count in flips(card).values()} == {(0, 0)}


def test_verdicts_that_a_suffix_takes_away_are_lost_and_not_flipped() -> None:
    exact = CallableJudge("exact", lambda _, text: ORIGINAL if text == HELP else None)
    (card,) = task_cards(answers((HELP, ORIGINAL)), exact, positive=ORIGINAL)

    assert flips(card)["disavowal", ORIGINAL] == (0, 1, 1)


def test_tasks_are_counted_apart_and_nothing_is_made_up_for_a_task_that_a_judge_cannot_speak_of() -> None:
    labelled = [*answers((HELP, ORIGINAL), (REFUSAL, REVISED)), *answers((HELP, ORIGINAL), task="truthfulness")]
    harmless, truthfulness = task_cards(labelled, RefusalPhrases(), positive=ORIGINAL)

    assert (harmless.task, harmless.figures.accuracy.value) == ("harmless", 1.0)
    assert truthfulness.confusion.original.unscored == 1
    assert truthfulness.figures.accuracy.value is None


@pytest.fixture(scope="module")
def miniature() -> list[LabelledAnswer]:
    return [
        LabelledAnswer(
            prompt=Prompt.model_validate(
                {"id": f"{number}", "text": row["prompt"], "task": row["task"], "system_prompt": row["system_prompt"]}
            ),
            text=str(row["answer"]),
            label=Side(str(row["label"])),
        )
        for number, row in enumerate(labelled_rows(60, seed=0))
    ]


def test_the_exact_judge_never_errs_on_the_miniatures_labels(miniature: list[LabelledAnswer]) -> None:
    for card in task_cards(miniature, CallableJudge("miniature", exact_judge), positive=ORIGINAL):
        assert card.figures.accuracy.value == 1.0
        assert card.confusion.original.wrong == card.confusion.revised.wrong == 0
        leaks = card.confusion.original.unscored + card.confusion.revised.unscored
        assert leaks > 0 if card.task == "harmless" else leaks == 0


def test_refusal_phrases_err_on_them_and_the_card_shows_it(miniature: list[LabelledAnswer]) -> None:
    harmless, over_refusal, truthfulness = task_cards(miniature, RefusalPhrases(), positive=ORIGINAL)

    assert 0.5 < (harmless.figures.accuracy.value or 0) < 0.95
    assert over_refusal.figures.recall.value == 1.0
    assert truthfulness.figures.f1.value is None
    assert flips(harmless)["disavowal", ORIGINAL][0] > 0


SIDES = {"o": Side.ORIGINAL, "r": Side.REVISED, "-": None}


def agreement(texts: list[tuple[str, str]], members: int = 3):
    """Of answers by task, whose text holds each member's vote in turn."""
    panel = Panel([CallableJudge(f"m{n}", lambda _, text, n=n: SIDES[text[n]]) for n in range(members)])
    completions = [completion(prompt(f"p{i}", task), text=text) for i, (task, text) in enumerate(texts)]
    return panel_agreement(completions, judge(completions, panel))


def drawn(n: int) -> list[str]:
    """Votes of three members that follow one truth, each with errors of its own."""
    rng = random.Random(5)
    votes = []
    for _ in range(n):
        truth = rng.random() < 0.4
        seen = [truth if rng.random() < rate else not truth for rate in (0.95, 0.85, 0.75)]
        votes.append("".join("ro"[one] for one in seen))
    return votes


def test_pairs_and_all_are_statsmodels() -> None:
    votes = drawn(200)
    [found] = agreement([("harmless", text) for text in votes])

    assert (found.task, found.judges, found.n, found.left_out) == ("harmless", ("m0", "m1", "m2"), 200, 0)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("m0", "m1"), ("m0", "m2"), ("m1", "m2")]
    for pair, (a, b) in zip(found.pairs, [(0, 1), (0, 2), (1, 2)], strict=True):
        table = np.array([[sum(v[a] == x and v[b] == y for v in votes) for y in "or"] for x in "or"])
        oracle = cohens_kappa(table)
        assert pair.kappa.value == pytest.approx(oracle.kappa)
        assert (pair.kappa.low, pair.kappa.high) == (pytest.approx(oracle.kappa_low), pytest.approx(oracle.kappa_upp))
        assert pair.agree == np.trace(table)
    assert found.fleiss == pytest.approx(fleiss_kappa(np.array([[v.count("o"), v.count("r")] for v in votes])))
    assert found.pairs[0].kappa.value > found.pairs[2].kappa.value


def test_tasks_are_apart_and_answers_without_an_opinion_are_left_out_and_counted() -> None:
    harmless, truthful = agreement(
        [("truthfulness", "oo"), ("harmless", "or"), ("harmless", "rr"), ("harmless", "-r"), ("truthfulness", "--")],
        members=2,
    )

    assert (harmless.task, harmless.n, harmless.left_out, harmless.pairs[0].kappa.n) == ("harmless", 2, 1, 2)
    assert harmless.pairs[0].agree == 1
    assert (truthful.task, truthful.n, truthful.left_out) == ("truthfulness", 1, 1)
    assert (truthful.fleiss, truthful.pairs[0].kappa.value) == (None, None)


def test_a_member_that_sat_out_one_pair_still_counts_in_the_others() -> None:
    [found] = agreement([("harmless", text) for text in ("oo-", "rr-", "oro", "rrr")])

    assert found.n == 2
    assert [pair.kappa.n for pair in found.pairs] == [4, 2, 2]


def test_verdicts_without_votes_say_nothing() -> None:
    answers = [completion(prompt())]

    assert panel_agreement(answers, judge(answers, CallableJudge("one", lambda *_: Side.REVISED))) == []
