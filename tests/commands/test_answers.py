"""`cst generate` over a JSON file, from outside: the original's flags, each one honoured, and one line for an error."""

import inspect
import json
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cst.annexes.safety_tuned_llamas.answering import DEFAULT_SAMPLING, OPINIONS, AnsweringSettings, read_instructions
from cst.cli import app
from cst.commands.answers import generate, reject_mixed_forms
from cst.errors import CstError, DataError
from cst.models.adapters import add_lora, save_adapter
from cst.models.loading import load_model
from models.tiny import model_folder
from models.tiny_classifiers import classifier_folder
from test_cli import cst, refused

FLAGS = {
    *("base_model", "lora_weights", "load_8bit", "max_new_tokens", "num_beams", "top_k", "top_p", "temperature"),
    *("prompt_template_path", "input_path", "output_path"),
}
"""Those of the original that say something here; its `auth_token` belongs to the hub's own login."""


PLAIN = (
    "{% for m in messages %}{{ '### ' + m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}### assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("command")
    loaded = load_model(str(model_folder(home / "model")), device="cpu")
    lora = add_lora(loaded.model, r=2, alpha=4, dropout=0.0, target_modules="all-linear", seed=0)
    save_adapter(lora, home / "weights", base="model")
    (home / "plain.jinja").write_text(PLAIN)
    asked = {"instructions": ["bake", "sing", "walk"], "inputs": [], "tags": ["a", "b", "a"]}
    (home / "set.json").write_text(json.dumps(asked))
    (home / "uneven.json").write_text(json.dumps({**asked, "inputs": ["x"]}))
    return home


def test_the_originals_flags_are_there_with_the_defaults_of_the_settings():
    parameters = inspect.signature(generate).parameters
    named = {name: parameters[name].default for name in DEFAULT_SAMPLING.model_fields_set | {"seed"}}

    assert parameters.keys() >= FLAGS
    assert named == {name: getattr(DEFAULT_SAMPLING, name) for name in named}
    others = AnsweringSettings.model_fields.keys() - {"sampling"}
    assert {name: parameters[name].default for name in others} == {
        name: AnsweringSettings.model_fields[name].default for name in others
    }


def test_every_flag_reaches_what_is_written(folder):
    words = "--base_model model --max_new_tokens 5 --num_beams 3 --top_k 7 --top_p 0.8 --temperature 0.4 --seed 2"
    tuned = "--lora_weights weights --prompt_template_path plain.jinja"
    more = "--batch-size 2 --dtype float32 --device cpu --input-path set.json --output_path answers --json"
    done = cst("generate", *f"{words} {tuned} {more}".split(), cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    written = json.loads((folder / told["file"]).read_text())

    assert told["file"] == "answers/weights/set.json"
    assert told["parameters"] == written["parameters"]
    expected = {
        **{"model": "model", "decoding": "beam sampling", "max_new_tokens": 5, "num_beams": 3, "top_k": 7},
        **{"lora_weights": "weights", "prompt_template": "plain.jinja", "boundary": "weak", "load_8bit": False},
        **{"top_p": 0.8, "temperature": 0.4, "seed": 2, "batch_size": 2, "dtype": "float32", "device": "cpu"},
    }
    assert {name: written["parameters"][name] for name in expected} == expected
    assert (written["instructions"], written["tags"]) == (["bake", "sing", "walk"], ["a", "b", "a"])
    assert sum(told["finish_reasons"].values()) == told["answers"] == len(written["outputs"]) == 3


def test_the_answers_are_told_of(folder):
    words = "--base_model model --max_new_tokens 3 --num_beams 1 --input_path set.json --output_path told.json"
    done = cst("generate", *words.split(), cwd=folder)

    assert done.stdout == "told.json\n"
    assert "3 answers by greedy search; 3 were cut at 3 tokens" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "Nothing to answer is named. Give `cst generate RECIPE`"),
        ("miniature --base_model model", "a RECIPE and --base_model belong to different forms of the command"),
        ("--base_model model --set a=1", "--set and --base_model belong to different forms"),
        ("--base_model model --output_path x.json", "--input_path is missing."),
        ("--base_model model --input_path set.json", "--output_path is missing."),
        ("--input_path set.json --output_path x.json", "base_model or lora_weights must name a model"),
        ("--base_model model --input_path set.json --output_path x.json --top_p 3", "top_p=3.0: Input should be less"),
        ("--base_model model --input_path set.json --output_path x.json --num_beams 0", "num_beams=0: Input should"),
        ("--base_model model --input_path set.json --output_path x.json --batch_size 0", "batch_size=0: Input should"),
        ("--base_model model --input_path uneven.json --output_path x.json", "uneven.json: instructions has 3 entries"),
        ("--base_model model --input_path none.json --output_path x.json", "There is no file none.json"),
        ("--base_model ./none --input_path set.json --output_path x.json", "No model folder at './none'"),
        ("--lora_weights ./none --input_path set.json --output_path x.json", "folder at './none'"),
        ("--base_model model --input_path set.json --output_path set.json", "is the file of instructions itself"),
        (
            "--base_model model --prompt_template_path none.json --input_path set.json --output_path x.json",
            "The chat template none.json can't be read",
        ),
    ],
)
def test_bad_words_are_refused_in_one_line(folder, words, says):
    with chdir(folder), pytest.raises(CstError) as refusal:
        app(["generate", *words.split()], standalone_mode=False)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(folder.glob("x.json*"))


def test_a_refusal_is_one_line_and_exit_code_2(folder):
    words = "--base_model model --input_path uneven.json --output_path x.json"
    assert "uneven.json: instructions has 3 entries, and inputs has 1." in refused(
        "generate", *words.split(), cwd=folder
    )


@pytest.mark.parametrize(
    "given", [["recipe"], ["recipe", "as_json", "folder"], ["input_path"], ["base_model", "top_k"]]
)
def test_one_form_at_a_time_is_taken(given):
    reject_mixed_forms(given)


@pytest.mark.parametrize("given", [[], ["as_json"], ["folder"], ["recipe", "seed"], ["update", "input_path"]])
def test_no_form_and_two_are_refused(given):
    with pytest.raises(DataError, match="cst generate RECIPE"):
        reject_mixed_forms(given)


INSTRUCTIONS = ["Name a tea.", "Add these.", "Describe rain."]
OUTPUTS = ["Green tea is a tea.", "Sorry, I can't help with that.", "Rain is water that falls."]
ANSWERS = {
    "parameters": {"model": "tiny"},
    "inputs": ["", "2 and 3", ""],
    "instructions": INSTRUCTIONS,
    "tags": ["drinks", "sums", "drinks"],
    "outputs": OUTPUTS,
}
PHRASES = "name: phrases\nmodel: {path: miniature}\njudge: {kind: refusal_phrases}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS))
    (tmp_path / "phrases.yaml").write_text(PHRASES)
    return tmp_path


def test_a_reward_models_numbers_stand_beside_the_answers_in_order(home: Path) -> None:
    folder = classifier_folder(home / "reward")
    judge = f"{{kind: classifier, preset: redteam-osst, threshold: 0, path: {folder}, max_length: 128, device: cpu}}"
    (home / "reward.yaml").write_text(f"name: reward\nmodel: {{path: miniature}}\njudge: {judge}\n")
    done = cst("score", "answers.json", "--recipe", "reward.yaml", "--out", "scored.json", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    written = json.loads((home / "scored.json").read_text())
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [INSTRUCTIONS[0], f"{INSTRUCTIONS[1]}\n2 and 3", INSTRUCTIONS[2]]
    texts = [f"\n\nHuman: {a}\n\nAssistant: {b}" for a, b in zip(asked, OUTPUTS, strict=True)]
    with torch.no_grad():
        expected = [model(**tokenizer(text, return_tensors="pt")).logits[0, 0].item() for text in texts]

    assert {name: written[name] for name in ANSWERS} == ANSWERS
    assert written["scores"] == pytest.approx(expected, abs=1e-6)
    assert written["exhibits"] == ["original" if score >= 0 else "revised" for score in written["scores"]]
    told = json.loads(done.stdout)
    assert (told["judge"], told["task"]) == (written["judge"], "harmless")
    assert [(score.get("tag"), score["n"]) for score in told["scores"]] == [(None, 3), ("drinks", 2), ("sums", 1)]
    assert told["scores"][0]["mean"]["mean"] == pytest.approx(sum(expected) / 3, abs=1e-6)
    assert told["scores"][0]["counted"] == sum(score >= 0 for score in expected)


def test_refusals_of_harmless_requests_are_counted_where_that_is_the_task(home: Path) -> None:
    command = ("score", "answers.json", "--recipe", "phrases.yaml")
    told = json.loads(cst(*command, "--task", "over_refusal", "--json", cwd=home).stdout)
    printed = cst(*command, "--task", "over_refusal", cwd=home).stdout

    assert [(score["counted"], score["n"]) for score in told["scores"]] == [(1, 3), (0, 2), (1, 1)]
    assert "refused" in printed
    assert "1/3, 0 unscored" in printed


def test_a_scored_file_is_scored_again_as_if_it_were_not(home: Path) -> None:
    judged = ("--recipe", "phrases.yaml")
    cst("score", "answers.json", *judged, "--out", "scored.json", cwd=home)
    (home / "answers.json").unlink()
    done = cst("score", "scored.json", *judged, "--out", "again.json", cwd=home)

    assert done.returncode == 0, done.stderr
    assert (home / "again.json").read_bytes() == (home / "scored.json").read_bytes()
    scored = json.loads((home / "scored.json").read_text())
    assert scored.keys() - ANSWERS.keys() == OPINIONS
    assert read_instructions(home / "scored.json").instructions == tuple(INSTRUCTIONS)
    (home / "scored.json").write_text(json.dumps({**scored, "score": 1}))
    assert "'score' is unknown" in refused("score", str(home / "scored.json"), "--recipe", str(home / "phrases.yaml"))


def test_what_can_not_be_scored_is_refused(home: Path) -> None:
    (home / "uneven.json").write_text(json.dumps({**ANSWERS, "outputs": OUTPUTS[:2]}))
    judged = ("--recipe", str(home / "phrases.yaml"))

    assert "outputs has 2" in refused("score", str(home / "uneven.json"), *judged)
    assert "no judge is named" in refused("score", str(home / "answers.json"))
    assert "takes no --task" in refused("score", str(home / "phrases.yaml"), "--task", "harmless")
    assert not (home / "scored.json").exists()
