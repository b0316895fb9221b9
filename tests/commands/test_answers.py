"""`cst generate` over a JSON file, from outside: the original's flags, each one honoured, and one line for an error."""

import inspect
import json
from contextlib import chdir
from pathlib import Path

import pytest

from cst.answering_settings import DEFAULT_SAMPLING, AnsweringSettings
from cst.cli import app
from cst.commands.answers import generate, refuse_mixed_forms
from cst.errors import CstError, DataError
from cst.models.adapters import add_lora, save_adapter
from cst.models.loading import load_model
from models.tiny import model_folder
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
    assert "3 answers by greedy search, 3 of them cut at 3 tokens" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "Nothing says what is to be answered. Give `cst generate RECIPE`"),
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
    refuse_mixed_forms(given)


@pytest.mark.parametrize("given", [[], ["as_json"], ["folder"], ["recipe", "seed"], ["update", "input_path"]])
def test_no_form_and_two_are_refused(given):
    with pytest.raises(DataError, match="cst generate RECIPE"):
        refuse_mixed_forms(given)
