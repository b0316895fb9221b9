"""A caller's own parts, by the names that a recipe uses: they are applied, told apart, and missed by name."""

import pytest

import cst
from cst.doors import open_workshop
from cst.errors import RecipeError
from cst.recipe.reading import parse_recipe
from cst.records import Drop, Preference, ResponsePair, Side, Verdict
from cst.runs.own import OwnParts
from cst.runs.workshop import Workshop
from cst.store import read_json, read_records, write_records

RECIPE = """
name: own
model: {path: miniature}
prompts: {training: [{kind: miniature, task: harmless, n: 4}], held_out: [{kind: miniature, task: harmless, n: 2}]}
configurations: miniature
synthesis: {methods: [{kind: contrast, tasks: [harmless]}], judge_gate: false, gates: {own: [all]}}
models: {}
generation: {max_new_tokens: 4}
judge: {kind: python, name: mine}
"""


def revised(prompt, answer):
    return Side.REVISED


def unscored(prompt, answer):
    return None


def out(pair):
    return "not_wanted"


def test_a_judge_and_a_gate_are_used_by_name_and_another_judge_judges_again(tmp_path):
    recipe = parse_recipe(RECIPE, where="own")
    until = {"until": "judge", "gates": {"all": out}}
    cst.run(recipe, tmp_path, judges={"mine": revised}, **until)
    first = read_records(tmp_path / "verdicts.jsonl", Verdict)
    again = cst.run(recipe, str(tmp_path), judges={"mine": revised}, **until)
    other = cst.run(recipe, tmp_path, judges={"mine": unscored}, **until)

    assert {drop.reason for drop in read_records(tmp_path / "drops.jsonl", Drop)} >= {"not_wanted"}
    assert read_records(tmp_path / "pairs.jsonl", ResponsePair) == []
    assert {verdict.exhibits for verdict in first} == {Side.REVISED}
    assert (again["judge"], other["judge"]) == ("done before", "made")
    assert {verdict.exhibits for verdict in read_records(tmp_path / "verdicts.jsonl", Verdict)} == {None}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"gates": {"all": out}}, r"judge\.name names 'mine'.*given: \[\].*cst\.run\(recipe, folder, judges="),
        (
            {"judges": {"mine": revised}, "gates": {"some": out}},
            r"gates\.own names 'all'.*given: \['some'\]",
        ),
    ],
    ids=["judge", "gate"],
)
def test_a_part_that_was_not_passed_in_is_named(tmp_path, given, says):
    with pytest.raises(RecipeError, match=says):
        cst.run(parse_recipe(RECIPE, where="own"), tmp_path, until="judge", **given)


def slack(policy, reference, *, beta):
    margin = policy.chosen.logps - reference.chosen.logps - policy.rejected.logps + reference.rejected.logps
    return (2 - beta * margin).clamp(min=0)


def test_a_loss_is_used_by_name(tmp_path):
    rows = [
        Preference(id=f"r{n}", task="t", configuration="c", prompt=f"Say {n}.", chosen="Gladly.", rejected="No.")
        for n in range(2)
    ]
    write_records(tmp_path / "rows.jsonl", rows)
    text = (
        "name: own\nmodel: {path: miniature}\npreferences: {path: rows.jsonl}\nmodels: {mine: []}\n"
        "training: {loss: slack, max_steps: 1}\n"
    )
    recipe = parse_recipe(text, where="own", folder=tmp_path)
    cst.run(recipe, tmp_path / "run", until="train", losses={"slack": slack})

    assert read_json(tmp_path / "run/models/mine/result.json")["first_loss"] == pytest.approx(2, abs=1e-3)


def test_without_a_world_miniature_is_rejected_with_what_to_do(tmp_path):
    recipe = parse_recipe(RECIPE, where="own")
    assert open_workshop(recipe, tmp_path).configurations
    with pytest.raises(RecipeError, match=r"says `miniature`, and no world was passed in; use cst\.run"):
        _ = Workshop(recipe, tmp_path, own=OwnParts()).configurations
