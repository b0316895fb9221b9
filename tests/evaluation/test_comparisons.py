import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt, verdicts
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from cst.errors import DataError
from cst.evaluation.comparisons import compare, mcnemar
from cst.records import Side

REVISED, ORIGINAL = Side.REVISED, Side.ORIGINAL


def paired(a: list[Side | None], b: list[Side | None], groups: list[dict[str, str]] | None = None):
    prompts = [prompt(f"p{i}", groups=groups[i] if groups else {}) for i in range(len(a))]
    answers = [completion(p, model=model) for model in ("cst", "dpo") for p in prompts]
    # the verdicts arrive in another order: pairing is by prompt, not by position
    return compare(
        answers[len(a) :] + answers[: len(a)], verdicts(answers, [*a, *b]), CONFIGURATIONS, model_a="cst", model_b="dpo"
    )


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(121, 59) == pytest.approx(binomtest(59, 180).pvalue)


@pytest.mark.parametrize(("only_a", "only_b"), [(5, 0), (1, 5), (3, 3), (121, 59), (12, 2)])
def test_mcnemar_is_statsmodels(only_a: int, only_b: int) -> None:
    oracle = statsmodels_mcnemar([[7, only_a], [only_b, 9]], exact=True)
    assert mcnemar(only_a, only_b) == pytest.approx(oracle.pvalue, abs=1e-12)


def test_mcnemar_gives_the_published_example() -> None:
    # Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13, 91, table 1: 1 and 7 discordant pairs: .0703
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_pairs_are_counted_by_prompt() -> None:
    a = [REVISED] * 6 + [ORIGINAL] * 2
    b = [REVISED] * 1 + [ORIGINAL] * 5 + [REVISED] + [ORIGINAL]
    [test] = paired(a, b)
    assert (test.n, test.only_a, test.only_b, test.difference) == (8, 5, 1, 0.5)
    assert test.p_value == pytest.approx(2 * (1 + 6) / 64)
    assert -1 <= test.low <= test.difference <= test.high <= 1


def test_a_prompt_without_both_verdicts_is_left_out_and_counted() -> None:
    [test] = paired([REVISED, None, REVISED, None], [ORIGINAL, ORIGINAL, None, None])
    assert (test.n, test.unscored, test.only_a) == (1, 3, 1)


def test_nothing_scored_has_no_difference() -> None:
    [test] = paired([None], [REVISED])
    assert (test.n, test.difference, test.p_value, test.low, test.high) == (0, None, 1.0, -1.0, 1.0)


def test_where_groups_decide_the_difference_they_widen_it() -> None:
    groups = [{"frame": str(i % 10)} for i in range(200)]
    a, b = [REVISED] * 200, [REVISED if i % 2 else ORIGINAL for i in range(200)]
    [together] = paired(a, b, groups)
    [apart] = paired(a, b)
    assert together.interval == "grouped_newcombe"
    assert apart.interval == "newcombe"
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_models_asked_different_prompts_are_not_paired() -> None:
    answers = [completion(prompt("a"), model="cst"), completion(prompt("b"), model="dpo")]
    with pytest.raises(DataError, match="different prompts"):
        compare(answers, verdicts(answers, [REVISED] * 2), CONFIGURATIONS, model_a="cst", model_b="dpo")


def test_a_model_that_said_nothing_is_named() -> None:
    answers = [completion(prompt("a"), model="cst")]
    with pytest.raises(DataError, match=r"'dpo'.*none of cst"):
        compare(answers, verdicts(answers, [REVISED]), CONFIGURATIONS, model_a="cst", model_b="dpo")
