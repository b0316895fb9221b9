"""A caller's own judge, gate, loss, chat model and section in a recipe: used by name, missed by name, part of keys."""

import re
from dataclasses import dataclass

import pytest

import cst
from cst.chat.base import ScriptedChat
from cst.errors import RecipeError
from cst.judges import Opinion
from cst.miniature import WORLD
from cst.recipe.reading import parse_recipe
from cst.records import Drop, ResponsePair, Side, Verdict
from cst.reporting.sections import Section
from cst.reporting.tables import Table
from cst.runs.own import OwnParts
from cst.runs.pipeline import steps
from cst.runs.workshop import Workshop
from cst.store import describe_callable, read_json, read_records
from cst.training.folder import read_metrics
from cst.training.loss import margin_of
from test_cli import cst as command_line

JUDGED = """
name: own
model: {path: miniature}
models: {}
prompts: {held_out: [{kind: miniature, task: harmless, n: 2}]}
configurations: miniature
generation: {max_new_tokens: 4}
judge: {kind: python, name: mine}
"""
MADE = """
name: own
model: {path: miniature}
chat_models: {author: {kind: python}}
prompts: {training: [{kind: miniature, task: harmless, n: 3}]}
configurations: miniature
synthesis:
  methods:
    - {kind: contrast, tasks: [harmless], author: author, original_system_prompt: a, revised_system_prompt: b}
  gates: {own: [no_a, every], nearly_equal: null, refused_originals: false}
"""
TRAINED = """
name: own
model: {path: miniature}
preferences: {path: rows.jsonl}
training: {loss: mine, max_steps: 1, lora_r: 2}
"""


def recipe(text, folder):
    return parse_recipe(text, where="own.yaml", folder=folder)


def always_revised(_prompt, _text):
    return Side.REVISED


def always_original(_prompt, _text):
    return Side.ORIGINAL


class Undecided:
    """A judge with the default repr, which names where the object lies in memory."""

    name = "undecided"

    def opinions(self, candidates):
        return [Opinion(exhibits=None, explanation="can't tell") for _ in candidates]


def test_a_function_judges_and_another_function_judges_again_without_generating(tmp_path):
    ours = recipe(JUDGED, tmp_path)
    cst.run(ours, tmp_path / "run", until="judge", judges={"mine": always_revised})
    first = read_records(tmp_path / "run/verdicts.jsonl", Verdict)
    again = cst.run(ours, tmp_path / "run", until="judge", judges={"mine": always_revised})
    other = cst.run(ours, str(tmp_path / "run"), until="judge", judges={"mine": always_original})

    assert {(verdict.judge, verdict.exhibits) for verdict in first} == {("mine", Side.REVISED)}
    assert set(again.values()) == {"done before"}
    assert other == {"prompts": "done before", "generate": "done before", "judge": "made"}
    assert {verdict.exhibits for verdict in read_records(tmp_path / "run/verdicts.jsonl", Verdict)} == {Side.ORIGINAL}


def test_an_object_judges_and_is_known_again_when_it_is_made_anew(tmp_path):
    ours = recipe(JUDGED, tmp_path)
    assert cst.run(ours, tmp_path / "run", until="judge", judges={"mine": Undecided()})["judge"] == "made"
    assert cst.run(ours, tmp_path / "run", until="judge", judges={"mine": Undecided()})["judge"] == "done before"
    assert {v.judge for v in read_records(tmp_path / "run/verdicts.jsonl", Verdict)} == {"undecided"}


def test_settings_in_a_repr_tell_callables_apart_and_an_address_does_not():
    @dataclass(frozen=True)
    class Longer:
        than: int

        def __call__(self, prompt, text):
            del prompt
            return Side.ORIGINAL if len(text) > self.than else None

    assert describe_callable(Longer(3)) != describe_callable(Longer(4))
    assert describe_callable(Longer(3)) == describe_callable(Longer(3))
    assert "0x" not in describe_callable(Undecided())["name"]


def no_a(pair):
    return "has_an_a" if "a" in pair.revised else None


def keeps_all(_pair):
    return None


def drops_all(_pair):
    return "all"


def echo(request):
    """The original is `A.`; the revised answer of every other prompt has an `a`."""
    if request.messages[0].content == "a":
        return "A."
    return "Yes, a lot." if len(request.messages[-1].content) % 2 else "No."


def test_pairs_are_dropped_by_gates_in_the_order_of_the_recipe_and_made_by_a_chat_model_of_ones_own(tmp_path):
    ours, chats = recipe(MADE, tmp_path), {"author": ScriptedChat(echo, name="author")}
    cst.run(ours, tmp_path, until="synthesize", gates={"every": keeps_all, "no_a": no_a}, chats=chats)
    pairs = read_records(tmp_path / "pairs.jsonl", ResponsePair)
    drops = read_records(tmp_path / "drops.jsonl", Drop)

    assert {pair.revised for pair in pairs} <= {"No."}
    assert {drop.reason for drop in drops} <= {"has_an_a"}
    assert len(pairs) + len(drops) == 3
    again = cst.run(ours, tmp_path, until="synthesize", gates={"every": drops_all, "no_a": no_a}, chats=chats)
    assert again["synthesize"] == "made"
    assert read_records(tmp_path / "pairs.jsonl", ResponsePair) == []
    assert read_json(tmp_path / "synthesis.json")[0]["drops"]["all"] == len(pairs)


def hinge(policy, reference, *, beta):
    return (1 - beta * margin_of(policy, reference)).clamp(min=0)


def test_a_loss_of_ones_own_is_what_is_minimised(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."}\n')
    cst.run(recipe(TRAINED, tmp_path), tmp_path / "run", until="train", losses={"mine": hinge})
    [line] = read_metrics(tmp_path / "run/models/cst/metrics.jsonl")

    assert line.loss == pytest.approx(1), "the hinge at a margin of 0; DPO's loss is ln 2 there"


@pytest.mark.parametrize(
    ("text", "argument", "key"),
    [
        (JUDGED, r"judges=\{'mine'", r"judge\.name names 'mine'"),
        (MADE, r"gates=\{'every'", r"synthesis\.gates\.own names 'every'"),
        (MADE.replace("own: [no_a, every], ", ""), r"chats=\{'author'", "chat_models names 'author'"),
        (TRAINED, r"losses=\{'mine'", r"training\.loss names 'mine'"),
    ],
)
def test_what_is_missing_is_named_with_what_to_type_before_anything_is_made(tmp_path, text, argument, key):
    with pytest.raises(RecipeError, match=rf"{key}.* Run the recipe from Python: cst\.run\(recipe, folder, {argument}"):
        cst.run(recipe(text, tmp_path), tmp_path / "run")
    assert not (tmp_path / "run/prompts.jsonl").exists()


def test_the_command_line_says_that_such_a_recipe_is_run_from_python(tmp_path):
    (tmp_path / "own.yaml").write_text(JUDGED)
    done = command_line("run", "own.yaml", cwd=tmp_path)

    assert done.returncode == 2
    assert "Run the recipe from Python: cst.run(recipe, folder, judges={'mine': ...})" in done.stderr


def test_a_part_that_the_recipe_does_not_name_is_rejected(tmp_path):
    with pytest.raises(RecipeError, match=r"judges has 'yours', which the recipe doesn't name in judge\.name"):
        cst.run(recipe(JUDGED, tmp_path), tmp_path, judges={"mine": always_revised, "yours": always_original})


def test_a_loss_and_a_loss_type_are_one_too_many(tmp_path):
    with pytest.raises(RecipeError, match=r"loss=mine and loss_type=ipo are two losses"):
        recipe(TRAINED.replace("loss: mine", "loss: mine, loss_type: ipo"), tmp_path)


def test_without_a_world_the_miniature_means_nothing(tmp_path):
    ours = recipe(JUDGED.replace("{kind: python, name: mine}", "{kind: miniature}"), tmp_path)
    with pytest.raises(RecipeError, match=r"says `miniature`, and no world was passed in\. Use cst\.run"):
        steps(Workshop(ours, tmp_path))
    assert steps(Workshop(ours, tmp_path, own=OwnParts(WORLD)))


def lengths(evidence):
    rows = tuple((each.model, each.id, str(len(each.text))) for each in evidence.completions)
    return Section(
        "Lengths of <b>", "How long answers are.", "completions.jsonl", (Table("Each", ("m", "a", "n"), rows),)
    )


def test_a_section_of_ones_own_comes_last_and_its_words_are_escaped(tmp_path):
    ours = recipe(JUDGED, tmp_path)
    cst.run(ours, tmp_path, judges={"mine": always_revised}, sections=[lengths])
    html, text = ((tmp_path / f"report.{kind}").read_text() for kind in ("html", "md"))

    assert "Lengths of &lt;b&gt;" in html
    titles = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert [title for title in titles if title != "Recipe"][-1].startswith("Lengths")
    assert cst.run(ours, tmp_path, judges={"mine": always_revised})["report"] == "made"
    assert "## Lengths" not in (tmp_path / "report.md").read_text()
