"""What an arm of a recipe asks, of whom, and in which words."""

from pathlib import Path

import pytest

from cst.errors import DataError, RecipeError
from cst.pipeline import run
from cst.recipe import Arm
from cst.recipe_file import parse_recipe
from cst.records import Prompt
from cst.stages.generation import asked_in, planned, refuse_unaskable
from cst.store import write_records
from cst.workshop import HELD_OUT_PROMPTS, Workshop

ALPACA = Path(__file__).parents[2] / "recipes" / "alpaca.json"
INSTRUCTED = f"""
name: instructed
model: {{path: miniature, chat_template: {ALPACA}}}
mixture: {{instructions: [{{kind: miniature, n: 8}}]}}
training: {{method: sft}}
prompts: {{held_out: [{{kind: miniature, task: harmless, n: 2}}]}}
judge: {{kind: miniature}}
"""
SAFE = "configurations: [{name: safe, tasks: [harmless], prefers: revised}]\n"


def test_an_arm_asks_the_first_prompts_of_each_of_its_tasks_in_order():
    prompts = [Prompt(id=f"{task}{i}", text="Why?", task=task) for i in range(3) for task in "abc"]
    arm = Arm(wordings="canonical", tasks=("a", "c"), prompts=2)

    assert [prompt.id for prompt in asked_in(arm, prompts)] == ["a0", "c0", "a1", "c1"]
    assert asked_in(Arm(wordings="none"), prompts) == prompts


def test_an_arm_puts_prompts_as_it_says(tmp_path):
    neutral, unknown = "neutral_system_prompts: [Hi.]", "unknown_system_prompts: [Rhyme.]"
    text = f"name: t\nmodel: {{path: miniature}}\nconfigurations: miniature\ngeneration: {{{neutral}, {unknown}}}"
    shop = Workshop(parse_recipe(text, where="try.yaml"), tmp_path)
    asked = [Prompt(id="p", text="Why?", task="harmless")]

    def plan(**arm):
        return [(row.configuration, row.system_prompt, row.framing) for row in planned(shop, Arm(**arm), asked)]

    assert plan(wordings="unknown") == [("unknown", "Rhyme.", None)]
    assert plan(wordings="neutral", framings=("plain", "quoted")) == [
        ("neutral", "Hi.", "plain"), ("neutral", "Hi.", "quoted"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arm", "system_policy", "says"),
    [
        ("wordings: none", "native", None),
        ("wordings: unknown", "native", "arms.0 asks .*/unknown', .* takes no system prompt .*fold_into_user"),
        ("wordings: unknown", "fold_into_user", None),
        (
            "wordings: none, framings: exchanges",
            "native",
            "arms.0 asks .*after_1_exchange', .* one instruction and one",
        ),
        ("wordings: none, framings: [after_0_exchanges]", "native", None),
        ("wordings: none, framings: [second_turn]", "native", "no configuration of its task prefers another side"),
    ],
)
def test_what_a_template_can_not_say_is_refused(tmp_path, arm, system_policy, says):
    arms = f"generation: {{arms: [{{{arm}}}], unknown_system_prompts: [Rhyme.]}}\n"
    policy = f"chat_template: {ALPACA}, system_policy: {system_policy}"
    text = INSTRUCTED.replace(f"chat_template: {ALPACA}", policy) + SAFE + arms
    shop = Workshop(parse_recipe(text, where="try.yaml"), tmp_path)
    write_records(tmp_path / HELD_OUT_PROMPTS, [Prompt(id="p", text="Why?", task="harmless")])

    if says is None:
        refuse_unaskable(shop)
        return
    with pytest.raises((DataError, RecipeError), match=says):
        refuse_unaskable(shop)


def test_nothing_is_tuned_whose_held_out_prompts_can_not_be_asked(tmp_path):
    worded = SAFE.replace("revised}", "revised, wordings: [Be safe.]}")
    with pytest.raises(RecipeError, match=r"arms\.0 asks .* takes no system prompt"):
        run(parse_recipe(INSTRUCTED + worded, where="try.yaml"), tmp_path / "run")

    assert (tmp_path / "run" / HELD_OUT_PROMPTS).exists()
    assert not (tmp_path / "run" / "models").exists()
