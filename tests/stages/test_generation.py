"""What an arm of a recipe asks, of whom, and in which words."""

from cst.recipe import Arm
from cst.recipe_file import parse_recipe
from cst.records import Prompt
from cst.stages.generation import asked_in, planned
from cst.workshop import Workshop


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
