"""The original's files are read strictly, and written as they were read."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from cst.annexes.safety_tuned_llamas.answering import (
    AnswerFile,
    AnsweringSettings,
    InstructionFile,
    answers_of,
    base_of,
    generate_answers,
    journal_of,
    output_file,
    read_answers,
    read_instructions,
    write_answers,
)
from cst.chat.local import LocalChat
from cst.chat.scripted import ScriptedChat
from cst.errors import DataError, ModelError, RunFolderError
from cst.journal import Journal
from cst.models.adapters import add_lora, save_adapter
from cst.models.loading import load_model
from cst.records import Sampling
from models.tiny import model_folder

ASKED = {
    "inputs": ["", "3 1 2", None],
    "instructions": ["Name a colour.", "Sort these.", "Sing \N{EIGHTH NOTE}."],
    "tags": ["short", "lists", "short"],
}
ANSWERED = {
    "parameters": {"model": "m", "load_8bit": False, "own": [1.5, None]},
    **ASKED,
    "outputs": ["Red.", "", "La"],
}


def written(folder: Path, value: object) -> Path:
    path = folder / "set.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize(
    "asked",
    [
        ASKED,
        {"instructions": ["Sing."] * 178, "inputs": []},
        {"instructions": ["Sing."], "inputs": None},
        {"instructions": ["Sing."]},
        {"instructions": ["Sing."], "inputs": [], "tags": ["a"]},
    ],
    ids=["all", "as published", "none", "alone", "tags"],
)
def test_what_is_asked_is_read_as_it_stands(tmp_path, asked):
    read = read_instructions(written(tmp_path, asked))

    assert read.model_dump(mode="json") == {"inputs": [], **asked}


def test_answers_are_written_as_they_were_read(tmp_path):
    read = read_answers(written(tmp_path, ANSWERED))
    write_answers(tmp_path / "again.json", read)

    assert json.loads((tmp_path / "again.json").read_text()) == ANSWERED
    assert read_answers(tmp_path / "again.json") == read


def test_the_keys_stand_in_the_originals_order(tmp_path):
    write_answers(tmp_path / "a.json", AnswerFile(instructions=("Sing.",), outputs=("La",), finish_reasons=("stop",)))

    keys = list(json.loads((tmp_path / "a.json").read_text()))
    assert keys == ["parameters", "inputs", "instructions", "outputs", "finish_reasons"]


def test_answers_can_be_asked_again(tmp_path):
    assert read_instructions(written(tmp_path, ANSWERED)) == InstructionFile.model_validate(ASKED)


def test_a_prompt_is_the_instruction_with_its_input_below_it():
    turns = InstructionFile.model_validate(ASKED).messages

    assert [(turn.role, turn.content, turn.input) for turn in turns] == [
        ("user", "Name a colour.", ""),
        ("user", "Sort these.\n3 1 2", "3 1 2"),
        ("user", "Sing \N{EIGHTH NOTE}.", ""),
    ]
    assert [turn.instruction for turn in turns] == ASKED["instructions"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"instructions": ["a", "b"], "inputs": ["x"]}, "instructions has 2 entries, and inputs has 1. Give one for"),
        ({"instructions": ["a", "b"], "tags": ["x"]}, "instructions has 2 entries, and tags has 1."),
        ({"instructions": []}, "instructions is empty; give at least one"),
        ({"inputs": []}, "field 'instructions' is missing."),
        ({"instructions": None}, "instructions=None: Input should be a valid tuple."),
        ({"instructions": "Sing."}, "instructions='Sing.': Input should be a valid tuple."),
        ({"instructions": ["a", 3]}, "instructions.1=3: Input should be a valid string."),
        ({"instructions": ["a", ""]}, "instructions.1='': String should have at least 1 character."),
        ({"instructions": ["a"], "inputs": [["x"]]}, "inputs.0=['x']: Input should be a valid string."),
        ({"instructions": ["a"], "inputs": {}}, "inputs={}: Input should be a valid tuple."),
        ({"instructions": ["a"], "input": []}, "field 'input' is unknown."),
        ('{"instructions": ["a"], "instructions": ["b"]}', "has the key 'instructions' twice."),
        ('{"instructions": [NaN]}', "holds NaN, which is no finite number."),
        ('{"instructions": ["\\ud800"]}', "half of a character"),
        ('{"instructions":\n ["a",]}', ":2 is not JSON"),
        ("", ":1 is not JSON"),
        (["a", "b"], 'is ["a", "b"]; an object is needed'),
    ],
    ids=repr,
)
def test_what_is_no_set_of_instructions_is_refused_by_name(tmp_path, value, says):
    path = written(tmp_path, value)
    with pytest.raises(DataError) as refusal:
        read_instructions(path)

    assert str(refusal.value).startswith(str(path))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*none\.json"):
        read_instructions(tmp_path / "none.json")


@pytest.mark.parametrize("column", ["outputs", "finish_reasons"])
def test_answers_without_one_for_each_are_refused(tmp_path, column):
    with pytest.raises(DataError, match=f"instructions has 3 entries, and {column} has 1"):
        read_answers(written(tmp_path, {**ANSWERED, column: ["stop"]}))


@pytest.mark.parametrize(
    ("temperature", "num_beams", "decoding"),
    [(0.0, 1, "greedy search"), (0.0, 4, "beam search"), (0.1, 1, "sampling"), (0.1, 4, "beam sampling")],
)
def test_temperature_and_beams_decide_how_tokens_are_chosen(temperature, num_beams, decoding):
    sampling = Sampling(temperature=temperature, num_beams=num_beams, top_k=40, top_p=0.75, seed=3)
    settings = AnsweringSettings(base_model="m", sampling=sampling)

    assert settings.decoding == decoding
    drawn = settings.sampling_used == sampling
    assert drawn == (temperature > 0)
    assert settings.sampling_used.num_beams == num_beams


def test_without_draws_nothing_that_speaks_of_them_decides():
    asked = [Sampling(num_beams=4, top_k=k, top_p=p, seed=s) for k, p, s in ((0, 1.0, 0), (40, 0.75, 3))]

    assert len({AnsweringSettings(base_model="m", sampling=each).sampling_used for each in asked}) == 1


def test_a_model_must_be_named():
    assert AnsweringSettings(lora_weights="a/b").name == "a/b"
    assert AnsweringSettings(base_model="m", lora_weights="a/b").name == "a/b"
    assert AnsweringSettings(base_model="m").name == "m"
    with pytest.raises(ValidationError, match="base_model or lora_weights must name a model"):
        AnsweringSettings()


def test_importing_it_all_loads_no_torch():
    imports = "import sys, cst.annexes.safety_tuned_llamas.answering, cst.commands.answers"
    code = f"{imports}; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "False False\n", done.stderr


SHORT = Sampling(num_beams=2, max_new_tokens=6)
WORDS = ["bake", "bread", "sing", "walk home", "count to five", "rest"]
ASKED_OF_ANSWERING = {"instructions": WORDS * 3, "inputs": ["", "slowly", None] * 6, "tags": ["a", "b"] * 9}
LATE = "\N{BREAD}" * 30
"""Few characters and many tokens: it is asked last, and is too long for the model."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(model_folder(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    (tmp_path / "set.json").write_text(json.dumps(ASKED_OF_ANSWERING))
    return tmp_path / "set.json"


def settings(model: str | None, **changes: object) -> AnsweringSettings:
    values = {"base_model": model, "sampling": SHORT, "batch_size": 4, "device": "cpu", **changes}
    return AnsweringSettings.model_validate(values)


def calls(output: Path) -> int:
    """How many units the journal beside an output has answers of."""
    with Journal(journal_of(output)) as journal:
        return sum(call.outcome == "answered" for call in journal.calls())


def test_each_instruction_is_asked_once_with_its_input():
    chat = ScriptedChat(lambda request: request.messages[-1].content.upper())
    replies = answers_of(chat, InstructionFile.model_validate(ASKED_OF_ANSWERING), Sampling())

    assert [reply.text for reply in replies[:3]] == ["BAKE", "BREAD\nSLOWLY", "SING"]
    assert len({request.id for request in chat.asked}) == len(chat.asked) == 18
    assert [len(request.messages) for request in chat.asked] == [1] * 18


def test_the_answers_are_the_models_in_order(model, asked, tmp_path):
    made = generate_answers(asked, tmp_path / "out.json", settings(model))
    chat = LocalChat(load_model(model, device="cpu"), name="tiny")
    alone = [answers_of(chat, InstructionFile(instructions=(turn.content,)), SHORT)[0] for turn in made.messages]

    assert list(made.outputs) == [reply.text for reply in alone]
    assert list(made.finish_reasons) == [reply.finish_reason for reply in alone]
    assert len(set(made.outputs)) > 4
    assert read_answers(tmp_path / "out.json") == made
    written = json.loads((tmp_path / "out.json").read_text())
    assert {key: written[key] for key in ASKED_OF_ANSWERING} == ASKED_OF_ANSWERING


def test_the_parameters_say_what_was_used(model, asked, tmp_path):
    drawn = Sampling(temperature=0.5, top_k=9, top_p=0.9, num_beams=1, max_new_tokens=6, seed=3)
    found = [
        generate_answers(asked, tmp_path / f"{name}.json", settings(model, sampling=sampling)).parameters
        for name, sampling in (("searched", SHORT.model_copy(update={"top_k": 9, "seed": 3})), ("drawn", drawn))
    ]
    names = ("decoding", "num_beams", "temperature", "top_k", "top_p", "seed", "max_new_tokens")

    assert [found[0][name] for name in names] == ["beam search", 2, 0.0, None, None, None, 6]
    assert [found[1][name] for name in names] == ["sampling", 1, 0.5, 9, 0.9, 3, 6]
    for used in found:
        assert (used["model"], used["lora_weights"], used["prompt_template"]) == (model, None, None)
        assert (used["dtype"], used["device"], used["batch_size"], used["load_8bit"]) == ("float32", "cpu", 4, False)
        assert used["model_fingerprint"] == load_model(model, device="cpu").fingerprint


def test_a_template_is_rendered_with_and_recorded(model, asked, tmp_path):
    plain = "{% for m in messages %}{{ '### ' + m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    (tmp_path / "plain.jinja").write_text(plain + "{% if add_generation_prompt %}### assistant: {% endif %}")
    own = generate_answers(asked, tmp_path / "own.json", settings(model))
    other = generate_answers(
        asked, tmp_path / "other.json", settings(model, prompt_template_path=tmp_path / "plain.jinja")
    )

    assert own.outputs != other.outputs
    assert other.parameters["prompt_template"] == str(tmp_path / "plain.jinja")
    assert (own.parameters["boundary"], other.parameters["boundary"]) == ("strong", "weak")
    assert own.parameters["template_sha256"] != other.parameters["template_sha256"]


@pytest.fixture
def adapter(model, tmp_path) -> Path:
    wrapped = add_lora(
        load_model(model, device="cpu").model, r=2, alpha=4, dropout=0.0, target_modules="all-linear", seed=0
    )
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.5)
    save_adapter(wrapped, tmp_path / "weights", base=model)
    return tmp_path / "weights"


def test_an_adapter_brings_its_model_and_answers_merged(model, asked, adapter, tmp_path):
    without = generate_answers(asked, tmp_path / "base.json", settings(model))
    tuned = generate_answers(asked, tmp_path / "out.json", settings(None, lora_weights=str(adapter)))
    merged = LocalChat(load_model(model, device="cpu", adapter=adapter, merge_adapter=True), name="m", batch_size=4)

    assert base_of(str(adapter)) == model
    assert (tuned.parameters["model"], tuned.parameters["lora_weights"]) == (model, str(adapter))
    assert tuned.outputs != without.outputs
    assert tuned.parameters["fingerprint"] == merged.fingerprint


def test_eight_bits_are_loaded_and_recorded(model, asked, tmp_path):
    pytest.importorskip("bitsandbytes")
    used = generate_answers(asked, tmp_path / "out.json", settings(model, load_8bit=True)).parameters

    assert used["load_8bit"] is True
    assert used["model_fingerprint"] == load_model(model, device="cpu", quantization="8bit").fingerprint


def test_an_adapter_before_a_model_of_another_name_is_told_of(model, asked, adapter, tmp_path, caplog):
    other = shutil.copytree(model, tmp_path / "other")
    same = shutil.copytree(model, tmp_path / "moved" / Path(model).name)

    generate_answers(asked, tmp_path / "same.json", settings(str(same), lora_weights=str(adapter)))
    assert not caplog.records
    generate_answers(asked, tmp_path / "other.json", settings(str(other), lora_weights=str(adapter)))
    (told,) = caplog.messages
    assert f"made for '{model}', and is put before '{other}'" in told


def test_an_adapter_that_names_no_model_is_refused(asked, adapter, tmp_path):
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
    with pytest.raises(ModelError, match=r"doesn't say which model .* was made for. Name it with base_model"):
        generate_answers(asked, tmp_path / "out.json", settings(None, lora_weights=str(adapter)))
    assert not journal_of(tmp_path / "out.json").exists()


def test_the_same_call_asks_nothing_and_writes_the_same(model, asked, tmp_path):
    output = tmp_path / "out.json"
    generate_answers(asked, output, settings(model))
    before, asked_before = output.read_bytes(), calls(output)
    output.unlink()
    generate_answers(asked, output, settings(model))

    assert (output.read_bytes(), calls(output)) == (before, asked_before)
    assert asked_before == 5


@pytest.mark.parametrize(
    "changes",
    [{"sampling": SHORT.model_copy(update={"num_beams": 3})}, {"batch_size": 5}, {"dtype": "bfloat16"}],
    ids=str,
)
def test_other_settings_are_other_answers(model, asked, tmp_path, changes):
    output = tmp_path / "out.json"
    generate_answers(asked, output, settings(model))
    before = calls(output)
    generate_answers(asked, output, settings(model, **changes))

    assert calls(output) >= before + 4


def test_bad_input_keeps_what_was_answered_before(model, asked, tmp_path):
    output, one_by_one = tmp_path / "out.json", settings(model, batch_size=1)
    instructions = [f"{word}, and then bake bread again" for word in WORDS]
    asked.write_text(json.dumps({"instructions": [LATE, *instructions]}))
    with pytest.raises(ModelError, match=r"prompt of request 'instruction-0001' has \d+ tokens, .* takes 96"):
        generate_answers(asked, output, one_by_one)
    assert not output.exists()
    assert calls(output) == 6
    asked.write_text(json.dumps({"instructions": ["rest", *instructions]}))
    mended = generate_answers(asked, output, one_by_one)

    assert calls(output) == 7
    assert mended == generate_answers(asked, tmp_path / "unbroken.json", one_by_one)


def test_a_killed_command_goes_on_and_ends_with_the_same_bytes(model, tmp_path):
    (tmp_path / "set.json").write_text(
        json.dumps({"instructions": [f"{word} {i}" for i in range(8) for word in WORDS]})
    )
    slow = settings(model, batch_size=2, sampling=Sampling(num_beams=8, max_new_tokens=60))
    words = f"--base_model {model} --batch_size 2 --num_beams 8 --max_new_tokens 60 --device cpu".split()
    paths = ["--input_path", str(tmp_path / "set.json"), "--output_path", str(tmp_path / "killed.json")]
    output, log = tmp_path / "killed.json", tmp_path / "killed.json.journal.sqlite-wal"
    run = subprocess.Popen([sys.executable, "-m", "cst", "generate", *words, *paths], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if run.poll() is not None or (log.exists() and log.stat().st_size > 40_000):
                break
            time.sleep(0.1)
        with pytest.raises(RunFolderError, match="in use by another process"):
            generate_answers(tmp_path / "set.json", output, slow)
    finally:
        run.kill()
        run.wait()
    kept = calls(output)
    assert 0 < kept < 24
    assert not output.exists()
    generate_answers(tmp_path / "set.json", output, slow)
    generate_answers(tmp_path / "set.json", tmp_path / "unbroken.json", slow)

    assert output.read_bytes() == (tmp_path / "unbroken.json").read_bytes()
    assert calls(output) == 24


@pytest.mark.parametrize(
    ("output", "name", "expected"),
    [
        ("out.json", "a/b", "out.json"),
        ("out", "a/b", "out/a/b/set.json"),
        ("out", "/models/x", "out/models/x/set.json"),
        ("out", "../x", "out/x/set.json"),
        ("out", "miniature", "out/miniature/set.json"),
    ],
)
def test_a_folder_holds_answers_by_weights_and_set(output, name, expected):
    assert output_file(Path("data/set.json"), Path(output), name) == Path(expected)


def test_a_folder_may_be_named_like_a_file(tmp_path):
    (tmp_path / "out.json").mkdir()
    assert output_file(Path("set.json"), tmp_path / "out.json", "m") == tmp_path / "out.json" / "m" / "set.json"


def test_the_set_itself_is_not_written_over(model, asked):
    before = asked.read_bytes()
    with pytest.raises(DataError, match="is the file of instructions itself"):
        generate_answers(asked, asked, settings(model))
    assert asked.read_bytes() == before


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_named(model, asked, tmp_path, device):
    with pytest.raises(ModelError, match=f"device='{device}' can't be used here"):
        generate_answers(asked, tmp_path / "out.json", settings(model, device=device))
