"""What an arm of a recipe asks, of whom, and in which words."""

import subprocess
import sys
from pathlib import Path

import pytest
from local_tasks import write_tasks

from cst.doors import open_workshop, run
from cst.errors import DataError, RecipeError
from cst.recipe.evaluation import Arm
from cst.recipe.reading import parse_recipe
from cst.records import Prompt
from cst.runs.stages.generation import asked_in, capability_prompts, capability_sets, planned, reject_unaskable
from cst.runs.workshop import HELD_OUT_PROMPTS, Workshop
from cst.store import write_records

ALPACA = Path(__file__).parents[3] / "recipes" / "alpaca.json"
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
    shop = open_workshop(parse_recipe(text, where="try.yaml"), tmp_path)
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
    shop = open_workshop(parse_recipe(text, where="try.yaml"), tmp_path)
    write_records(tmp_path / HELD_OUT_PROMPTS, [Prompt(id="p", text="Why?", task="harmless")])

    if says is None:
        reject_unaskable(shop)
        return
    with pytest.raises((DataError, RecipeError), match=says):
        reject_unaskable(shop)


def test_nothing_is_tuned_whose_held_out_prompts_can_not_be_asked(tmp_path):
    worded = SAFE.replace("revised}", "revised, wordings: [Be safe.]}")
    with pytest.raises(RecipeError, match=r"arms\.0 asks .* takes no system prompt"):
        run(parse_recipe(INSTRUCTED + worded, where="try.yaml"), tmp_path / "run")

    assert (tmp_path / "run" / HELD_OUT_PROMPTS).exists()
    assert not (tmp_path / "run" / "models").exists()


def workshop(tmp_path, text: str) -> Workshop:
    return open_workshop(parse_recipe(f"name: try\nmodel: {{path: miniature}}\n{text}", where="try.yaml"), tmp_path)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ("", ["none", "harmless", "uncensored", "honest"]),
        (", configurations: []", ["none"]),
        (", configurations: [honest], without_configuration: false", ["honest"]),
    ],
)
def test_capabilities_are_asked_under_every_configuration_with_a_system_prompt_and_without(tmp_path, more, names):
    shop = workshop(tmp_path, f"configurations: miniature\ncapabilities: {{tasks: miniature{more}}}")
    first = {configuration.name: configuration.wordings[:1] for configuration in shop.configurations}
    prompts = capability_prompts(shop)
    assert list(prompts) == names
    assert all((prompt,) == first[name] for name, prompt in prompts.items() if name != "none")
    assert prompts.get("none") is None


def test_capabilities_under_a_configuration_without_a_system_prompt_are_refused(tmp_path):
    text = "configurations: miniature\ncapabilities: {tasks: miniature, configurations: [persona]}"
    with pytest.raises(RecipeError, match=r"names 'persona', and those with a system prompt are \['harmless'"):
        capability_prompts(workshop(tmp_path, text))


def test_lm_eval_is_missed_in_one_line_before_anything_is_done(tmp_path):
    """In a process of its own, in which it can't be found."""
    code = (
        "import sys; sys.modules['lm_eval'] = None\n"
        "from cst.recipe.reading import parse_recipe; from cst.runs.pipeline import run; from pathlib import Path\n"
        "text = '{name: t, model: {path: miniature}, preferences: {path: p.jsonl}, capabilities: {tasks: miniature}}'\n"
        "run(parse_recipe(text, where='t.yaml'), Path('run'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (
        "needs lm-eval, which isn't installed. Install it (pip install 'configurable-safety-tuning[capabilities]')"
        in done.stderr
    )
    assert not (tmp_path / "run" / "preferences").exists()


def test_the_sets_are_the_miniatures_or_those_that_the_recipe_names(tmp_path):
    own = capability_sets(workshop(tmp_path, "capabilities: {tasks: miniature}"))
    named = f"capabilities: {{tasks: [{{task: letters, metric: acc_norm}}], include_path: {write_tasks(tmp_path)}}}"
    (letters,) = capability_sets(workshop(tmp_path, named))
    assert [asked.name for asked in own] == ["arc_mini", "hellaswag_mini", "mmlu_mini", "truthfulqa_mini"]
    assert (letters.name, letters.metric) == ("letters", "acc_norm")
