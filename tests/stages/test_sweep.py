"""The stage makes sweep.json of answers and verdicts, and stands in the plan of a sweep alone."""

from pathlib import Path

import pytest

from cst.evaluation.sweep import Sweep
from cst.recipe_file import parse_recipe
from cst.records import Completion, Prompt, Side, Verdict
from cst.stages.sweep import is_sweep, sweep_stage
from cst.store import read_json, write_records
from cst.workshop import Workshop

RECIPE = """
name: x
model: {path: miniature}
training: {method: sft}
mixture:
  instructions: [{kind: file, path: instructions.jsonl}]
  safety: [{kind: file, path: safety.jsonl}]
  safety_counts: [0, 100]
prompts: {held_out: [{kind: miniature, task: harmless, n: 2}]}
configurations: [{name: plain, tasks: [harmless], prefers: revised}]
judge: {kind: refusal_phrases}
"""
SIDES = {"base": Side.ORIGINAL, "safety-0": Side.ORIGINAL, "safety-100": Side.REVISED}


def workshop(folder: Path, text: str = RECIPE) -> Workshop:
    return Workshop(parse_recipe(text, where="here"), folder)


def answered(folder: Path) -> None:
    """One answer of each model, with a number from the judge."""
    completions = [
        Completion(
            id=model, prompt=Prompt(id="p", text="How?", task="harmless"), configuration="none", system_prompt=None,
            wordings="none", model=model, temperature=0, text="So.", finish_reason="stop",
        )
        for model in SIDES
    ]  # fmt: skip
    write_records(folder / "completions.jsonl", completions)
    made = [Verdict(completion_id=model, exhibits=side, judge="made", score=1.0) for model, side in SIDES.items()]
    write_records(folder / "verdicts.jsonl", made)


def test_answers_become_rates_by_n_and_what_is_missing_is_said(tmp_path):
    answered(tmp_path)
    sweep_stage(workshop(tmp_path)).work()

    sweep = Sweep.model_validate(read_json(tmp_path / "sweep.json"))
    assert [(rate.safety_examples, rate.followed, rate.n) for rate in sweep.rates] == [
        (None, 1, 1),
        (0, 1, 1),
        (100, 0, 1),
    ]
    assert [(test.model_a, test.only_b) for test in sweep.tests] == [("safety-100", 1)]
    assert sweep.missing == ("No held-out prompt of task over_refusal was answered: there is no exaggerated safety.",)
    assert sweep.means == ()  # one number each


def test_another_number_of_examples_is_another_result(tmp_path):
    one, other = (sweep_stage(workshop(tmp_path, text)) for text in (RECIPE, RECIPE.replace("[0, 100]", "[0, 200]")))
    assert one.depends_on() != other.depends_on()
    assert (one.inputs, one.outputs) == (["completions.jsonl", "verdicts.jsonl"], ["sweep.json"])


@pytest.mark.parametrize(
    ("without", "expected"),
    [((), True), (("  safety:", "  safety_counts:"), False), (("training:", "mixture:", "  "), False)],
)
def test_a_sweep_is_a_mixture_with_safety_examples(without, expected):
    lines = [line for line in RECIPE.splitlines() if not (without and line.startswith(without))]
    assert is_sweep(parse_recipe("\n".join(lines), where="here")) == expected
