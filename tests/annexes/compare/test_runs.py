import random
from pathlib import Path

import pytest
from made_for_evaluation import CONFIGURATIONS, completion, prompt, verdicts
from run_for_evaluation import write_run

from cst.annexes.compare.runs import ScoredRun, cautions, cell_of, differences, independent, named, pairs_of, read_runs
from cst.errors import DataError, RunFolderError
from cst.evaluation.comparisons import compare
from cst.evaluation.scores import by_cell, outcomes, score
from cst.records import Completion, SafetyConfiguration, Score, Side, Verdict
from cst.store import read_json, read_records, write_json, write_records


def answers(n: int = 40, **fields: object) -> list[Completion]:
    """One greedy answer of one model to each of n prompts under the harmless configuration."""
    return [completion(prompt(f"p{i}", groups={"frame": str(i % 5)}, **fields)) for i in range(n)]


def drawn(n: int, rate: float, seed: int, *, unscored: float = 0.05) -> list[Side | None]:
    rng = random.Random(seed)
    return [
        None if rng.random() < unscored else Side.REVISED if rng.random() < rate else Side.ORIGINAL for _ in range(n)
    ]


def scored(label: str, completions: list[Completion], sides: list[Side | None]) -> ScoredRun:
    judged = verdicts(completions, sides)
    cells = dict(by_cell(outcomes(completions, judged, CONFIGURATIONS)))
    return ScoredRun(label, score(completions, judged, CONFIGURATIONS), cells)


def of(followed: int, n: int) -> Score:
    """A score whose interval is Wilson's."""
    asked = [completion(prompt(f"p{i}")) for i in range(n)]
    judged = verdicts(asked, [Side.REVISED] * followed + [Side.ORIGINAL] * (n - followed))
    (made,) = score(asked, judged, CONFIGURATIONS)
    assert made.interval == "wilson"
    return made


def test_across_runs_is_as_between_two_models_of_one_run():
    asked, here, there = answers(), drawn(40, 0.9, 1), drawn(40, 0.5, 2)
    (found,) = differences(scored("here", asked, here), scored("there", asked, there))
    twin = [c.model_copy(update={"model": "twin", "id": f"twin/{c.id}"}) for c in asked]
    judged = [*verdicts(asked, here), *verdicts(twin, there)]
    (test,) = compare([*asked, *twin], judged, CONFIGURATIONS, model_a="cst", model_b="twin")

    assert found.pairs is not None
    assert (found.run, found.against) == ("here", "there")
    assert (found.difference, found.low, found.high) == (test.difference, test.low, test.high)
    assert (found.pairs.n, found.pairs.unscored) == (test.n, test.unscored)
    assert found.pairs.unscored > 0
    assert (found.pairs.only_run, found.pairs.only_against) == (test.only_a, test.only_b)
    assert found.pairs.p_value == test.p_value


def test_a_run_against_itself_differs_in_nothing():
    run = scored("a", answers(), drawn(40, 0.7, 3))
    (found,) = differences(run, run)
    assert found.pairs is not None
    assert (found.difference, found.pairs.p_value) == (0, 1)


def test_the_other_way_round_only_the_sign_changes():
    a, b = scored("a", answers(), drawn(40, 0.9, 1)), scored("b", answers(), drawn(40, 0.5, 2))
    (there,), (back,) = differences(a, b), differences(b, a)
    assert there.difference is not None
    assert there.difference == -(back.difference or 0)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=0.03)
    assert there.pairs is not None
    assert back.pairs is not None
    assert there.pairs.p_value == back.pairs.p_value


def another_text(c: Completion) -> Completion:
    return c.model_copy(update={"prompt": c.prompt.model_copy(update={"text": "Other?"})})


def another_system_prompt(c: Completion) -> Completion:
    return c.model_copy(update={"system_prompt": "You are another."})


@pytest.mark.parametrize("change", [another_text, another_system_prompt])
def test_one_prompt_that_was_asked_otherwise_ends_the_pairing(change):
    asked = answers()
    changed = [change(asked[0]), *asked[1:]]
    a, b = scored("a", asked, drawn(40, 0.9, 1)), scored("b", changed, drawn(40, 0.5, 2))
    (found,) = differences(a, b)
    assert found.pairs is None
    assert found.difference == pytest.approx((a.scores[0].rate or 0) - (b.scores[0].rate or 0))


def test_answers_that_are_not_there_or_stand_twice_are_not_paired():
    cells = scored("a", answers(), drawn(40, 0.9, 1)).outcomes
    (group,) = cells.values()
    assert pairs_of(group, group) is not None
    assert pairs_of([], []) is None
    assert pairs_of(group, group[:-1]) is None
    assert pairs_of([*group, group[0]], group) is None


def test_cells_that_one_run_lacks_are_not_compared():
    asked = answers()
    sampled = [completion(c.prompt, temperature=1.0) for c in asked]
    both = scored("both", [*asked, *sampled], drawn(80, 0.9, 1))
    (found,) = differences(both, scored("one", asked, drawn(40, 0.9, 2)))
    assert cell_of(found.score).temperature == 0


def test_independent_samples_give_newcombes_published_interval():
    """Newcombe 1998, Stat. Med. 17, 873, Table II: method 10 for 56/70 and 48/80."""
    interval = independent(of(56, 70), of(48, 80))
    assert (round(interval.low, 4), round(interval.high, 4), interval.method) == (0.0524, 0.3339, "newcombe")


@pytest.mark.parametrize("method", ["grouped_wilson", "cluster_bootstrap"])
def test_an_interval_of_groups_stays_one_of_groups_and_nothing_scored_says_nothing(method):
    a, b = of(56, 70), of(48, 80)
    wider = a.model_copy(update={"low": a.low - 0.1, "interval": method})
    interval = independent(wider, b)
    assert interval.method == "grouped_newcombe"
    assert interval.low < independent(a, b).low
    empty = a.model_copy(update={"followed": 0, "n": 0, "low": 0.0, "high": 1.0})
    assert (independent(empty, b).low, independent(empty, b).high) == (-1, 1)


def test_independent_intervals_hold_the_truth_about_as_often_as_they_say():
    """2,000 draws of two samples of 60 and 90; the control, half as wide, must miss far more often."""
    rng = random.Random(7)
    rates, sizes, hits, half = (0.85, 0.6), (60, 90), 0, 0
    made = {(k, n): of(k, n) for n in sizes for k in range(n + 1)}
    for _ in range(2000):
        k, other = (sum(rng.random() < rate for _ in range(n)) for rate, n in zip(rates, sizes, strict=True))
        interval = independent(made[k, sizes[0]], made[other, sizes[1]])
        hits += interval.low <= 0.25 <= interval.high
        middle, quarter = (interval.low + interval.high) / 2, interval.width / 4
        half += middle - quarter <= 0.25 <= middle + quarter
    assert 0.935 <= hits / 2000 <= 0.97
    assert half / 2000 < 0.8


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [write_run(tmp_path / name, n=12) for name in ("one", "two")]


def said(folders: list[Path]) -> list[str]:
    read = read_runs(folders)
    first, *others = read.runs
    return cautions(read, [found for run in others for found in differences(run, first)])


def test_runs_that_were_made_alike_need_no_caution(two):
    assert said(two) == []


def test_a_run_goes_by_its_folder_and_by_the_whole_path_where_two_end_alike(tmp_path):
    paths = [tmp_path / "a" / "x", tmp_path / "b" / "x", tmp_path / "a" / "y"]
    for path in paths:
        path.mkdir(parents=True)
    assert named(paths) == {str(paths[0]): paths[0], str(paths[1]): paths[1], "y": paths[2]}


def test_a_run_named_twice_and_one_that_is_not_there_are_refused(two, tmp_path):
    with pytest.raises(RunFolderError, match="named 2 times"):
        read_runs([two[0], two[0] / ".." / "one"])
    (tmp_path / "recipe.yaml").touch()
    for path in (tmp_path / "none", tmp_path / "recipe.yaml"):
        with pytest.raises(RunFolderError, match="is no run folder"):
            read_runs([two[0], path])


def test_runs_without_scores_are_left_out_by_name_and_reason(two, tmp_path):
    (tmp_path / "unfinished").mkdir()
    write_json(tmp_path / "hollow" / "scores.json", [])
    folders = [tmp_path / "unfinished", two[0], tmp_path / "hollow"]
    assert [run.label for run in read_runs(folders).runs] == ["one"]
    unfinished, hollow, alone = said(folders)
    assert unfinished.startswith("unfinished is left out: it holds no scores.json")
    assert hollow.startswith("hollow is left out: its scores.json is empty")
    assert "nothing to compare it with" in alone
    with pytest.raises(RunFolderError, match=r"None of the 1 folders .* hollow: its scores"):
        read_runs(folders[2:])


def test_different_judges_are_said(two):
    judged = read_records(two[1] / "verdicts.jsonl", Verdict)
    write_records(two[1] / "verdicts.jsonl", [v.model_copy(update={"judge": "other"}) for v in judged])
    (caution,) = said(two)
    assert caution.startswith("Not the same judges (one: made; two: other)")


def test_a_configuration_that_prefers_otherwise_is_said(two):
    own = [SafetyConfiguration.model_validate(value) for value in read_json(two[1] / "configurations.json")]
    turned = [c.model_copy(update={"prefers": Side.ORIGINAL}) if c.name == "honest" else c for c in own]
    write_json(two[1] / "configurations.json", turned)
    assert said(two) == [
        "The configuration honest doesn't prefer the same side in all runs: its scores don't mean the same."
    ]


def test_what_is_not_paired_and_what_is_not_compared_is_counted(two):
    scores = [score for score in read_json(two[1] / "scores.json") if "framing" not in score]
    write_json(two[1] / "scores.json", scores[1:])
    (two[1] / "completions.jsonl").unlink()
    unpaired, alone = said(two)
    assert unpaired.startswith(f"{len(scores) - 1} of {len(scores) - 1} differences are those of independent samples")
    assert alone == "1 scores stand in one of one and two alone: not compared."


def test_verdicts_that_do_not_fit_are_named_with_their_folder(two):
    judged = read_records(two[1] / "verdicts.jsonl", Verdict)
    write_records(two[1] / "verdicts.jsonl", judged[1:])
    with pytest.raises(DataError, match=r"two: completion .* has no verdict"):
        read_runs(two)
