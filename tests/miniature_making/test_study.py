"""The study's tables judge and count as they say, kept measurements are used only for the model they were made of."""

import re
from dataclasses import asdict

import pytest

from cst.doors import open_workshop
from cst.errors import DataError
from cst.store import fingerprint_of_file, parse_record, read_text, write_json
from miniature_making import study
from miniature_making.desk import Desk, Place, Trial
from miniature_making.pretraining import PretrainingSettings
from miniature_making.tables import CST, DPO, TARGETS, WORDINGS, Bounds, Figure, Study, markdown, study_tables

NEAR = {(CST, "S1"): Bounds(at_least=0.95)}


def figure(value, seed=5, what="S1", section=CST, **more) -> Figure:
    return Figure(section=section, what=what, seed=seed, value=value, **({"low": 0.5, "high": 1.0, "n": 300} | more))


def found(*figures: Figure, seeds=(5, 6, 7)) -> Study:
    return Study(seeds=seeds, n=300, threads=1, models={}, versions={}, figures=figures)


def row(*figures: Figure, seeds=(5, 6, 7), bounds=NEAR) -> list[str]:
    """The first row under a heading of the bounded table."""
    return study_tables(found(*figures, seeds=seeds), bounds)[0].text_rows()[1]


def desk(tmp_path) -> Desk:
    place = Place(5, 0, tmp_path, study.recipe_path().parent / "model", 4)
    return Desk(place, open_workshop(study.recipe_of(place), place.run))


def test_a_mean_inside_its_bound_is_met_and_one_outside_is_not():
    near = [figure(value, seed) for seed, value in ((5, 1.0), (6, 0.96), (7, 0.92))]
    far = [figure(value, seed) for seed, value in ((5, 1.0), (6, 0.96), (7, 0.80))]
    assert row(*near)[-1] == "met"
    assert row(*far)[-1] == "not met"
    assert "| **not met** |" in markdown(found(*far), NEAR)


def test_the_mean_is_that_of_seeds_with_all_their_answers():
    figures = figure(1.0, low=0.9), figure(0.9, 6, low=0.6, unscored=2), figure(0.8, 7, low=0.6, unscored=4)
    assert row(*figures)[2] == ".900\n[.700, 1.000]\nn=900, 6 unscored"


def test_a_seed_that_misses_is_marked_even_where_the_mean_is_met():
    cells = row(*(figure(value, seed) for seed, value in ((5, 1.0), (6, 0.96), (7, 0.92))))
    assert ["not met" in text for text in cells[3:6]] == [False, False, True]


def test_a_seed_without_a_value_leaves_the_mean_unmeasured():
    assert row(figure(1.0), figure(None, 6), figure(1.0, 7))[-1] == "not measured"
    assert row(figure(1.0), figure(1.0, 7))[-1] == "not measured"


@pytest.mark.parametrize(
    ("bounds", "value", "is_met"),
    [
        (Bounds(at_least=0.97), 0.97, True),
        (Bounds(at_least=0.97), 0.9699, False),
        (Bounds(at_most=0.35), 0.35, True),
        (Bounds(at_most=0.35), 0.36, False),
        (Bounds(-0.03, 0.03), -0.031, False),
        (Bounds(-0.03, 0.03), 0.031, False),
        (Bounds(-0.03, 0.03), 0.0, True),
    ],
)
def test_ends_are_inside(bounds, value, is_met):
    assert bounds.admit(value) is is_met


def test_a_bound_without_a_figure_is_an_error():
    with pytest.raises(DataError, match="no figure for 1 bounds"):
        study_tables(found(figure(1.0, what="S0")), NEAR)


def test_every_cell_carries_its_interval_n_and_unscored():
    assert row(figure(0.96, unscored=3), seeds=(5,))[3] == ".960\n[.500, 1.000]\nn=300, 3 unscored"


def test_what_has_no_bound_stands_in_a_table_of_its_own_without_a_verdict():
    tables = study_tables(found(figure(0.5), figure(0.1, what="S1", section=DPO), seeds=(5,)), NEAR)
    assert [table.title for table in tables] == ["What is to be reached", DPO]
    assert tables[1].columns == ("", "mean", "seed 5")


def test_in_markdown_every_row_has_the_cells_of_its_head():
    figures = [figure(0.99, remark="a | b"), figure(0.5, what="S1 | S0"), figure(0.5, what="x", section=DPO)]
    tables = re.findall(r"(?:^\|.*\n)+", markdown(found(*figures, seeds=(5,)), NEAR), re.MULTILINE)
    cells = [[len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()] for table in tables]
    assert [len(set(counts)) for counts in cells] == [1, 1, 1]


def test_of_the_wordings_the_least_followed_are_shown():
    figures = [figure(index / 100, what=f"wording {index}", section=WORDINGS) for index in range(100)]
    shown = [cells[0] for cells in study_tables(found(*figures, seeds=(5,)), {})[1].text_rows()]
    assert shown == [f"wording {index}" for index in range(20)]


def test_a_rate_leaves_unscored_answers_out_and_a_share_does_not(tmp_path):
    trials = [Trial(value, {}) for value in (*[True] * 6, *[False] * 2, *[None] * 2)]
    rate = desk(tmp_path).rate(CST, "x", trials)
    assert (rate.value, rate.n, rate.unscored) == (6 / 8, 8, 2)
    shares = [desk(tmp_path).share(CST, "x", trials, shown=shown) for shown in (True, False, None)]
    assert [(share.value, share.n, share.unscored) for share in shares] == [(0.6, 10, 2), (0.2, 10, 2), (0.2, 10, 2)]


def test_answers_that_hang_together_widen_the_interval(tmp_path):
    alone = [Trial(index < 20, {}) for index in range(40)]
    together = [Trial(index < 20, {"wording": str(index // 10)}) for index in range(40)]
    narrow, wide = (desk(tmp_path).rate(CST, "x", trials) for trials in (alone, together))
    assert wide.high - wide.low > narrow.high - narrow.low
    assert (narrow.interval, wide.interval) == ("wilson", "grouped_wilson")


def test_a_measurement_is_made_once_and_again_for_another_model(tmp_path):
    values = iter((0.1, 0.2, 0.3))

    def measure():
        return [figure(next(values))]

    file = tmp_path / "seed-5" / "wordings.json"
    made = [study.measured(file, key, measure)[0].value for key in ("one model", "one model", "another", "another")]
    assert made == [0.1, 0.1, 0.2, 0.2]


def test_a_measurement_that_was_cut_short_leaves_nothing(tmp_path):
    def killed():
        raise KeyboardInterrupt

    file = tmp_path / "wordings.json"
    with pytest.raises(KeyboardInterrupt):
        study.measured(file, "key", killed)
    assert study.measured(file, "key", lambda: [figure(0.5)])[0].value == 0.5


def test_a_model_is_taken_as_pretrained_only_whole_and_with_these_settings(tmp_path):
    settings = PretrainingSettings(seed=6)
    assert not study.is_pretrained(tmp_path, settings)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    told = {"settings": asdict(settings), "weights_sha256": fingerprint_of_file(weights)}
    write_json(tmp_path / "provenance.json", told)
    assert study.is_pretrained(tmp_path, settings)
    assert not study.is_pretrained(tmp_path, PretrainingSettings(seed=7))
    weights.write_bytes(b"harmed")
    assert not study.is_pretrained(tmp_path, settings)


def test_the_recipe_asks_as_many_prompts_a_cell_as_the_study_does(tmp_path):
    place = Place(6, 1, tmp_path, study.recipe_path().parent / "model", 320)
    recipe = study.recipe_of(place)
    assert {source.n for source in recipe.prompts.held_out} == {320}
    assert (recipe.seed, recipe.generation.curve_prompts) == (1, 320)


def test_the_control_trains_the_same_preferences_harder_and_measures_nothing_else(tmp_path):
    place = Place(6, 1, tmp_path, study.recipe_path().parent / "model", 320)
    recipe, control = study.recipe_of(place), study.control_of(place)
    assert control.preferences is not None
    assert control.preferences.path == place.run / "preferences" / "cst.jsonl"
    assert control.training.learning_rate >= 5 * recipe.training.learning_rate
    assert not control.prompts.held_out
    assert control.capabilities == recipe.capabilities


@pytest.mark.skipif(not study.RESULTS.exists(), reason="the study's results are not there: `make study` makes them")
def test_the_page_shows_what_the_results_hold():
    kept = parse_record(read_text(study.RESULTS), Study, str(study.RESULTS))
    assert read_text(study.PAGE) == markdown(kept, TARGETS)
    assert all(entry.n >= 300 for entry in kept.figures if (entry.section, entry.what) in TARGETS and entry.n)
