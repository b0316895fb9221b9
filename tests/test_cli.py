"""The command line as its users see it: quick, one message for a user's error, exit code 2, no traceback."""

import json
import logging
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from cst.cli import VERB_HELP, main
from cst.runs.pipeline import VERBS


def cst(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What the command line prints, and its exit code. Called in this process, because loading torch takes seconds."""
    out, errors = StringIO(), StringIO()
    warnings = logging.StreamHandler(errors)  # what Python does by itself where, unlike under pytest, nothing is set up
    warnings.setLevel(logging.WARNING)
    logging.getLogger("cst").addHandler(warnings)
    with chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        main(words)
    logging.getLogger("cst").removeHandler(warnings)
    return subprocess.CompletedProcess(["cst", *words], int(ended.value.code or 0), out.getvalue(), errors.getvalue())


def refused(*words: str, cwd: Path | None = None) -> str:
    """The message of a call that must be refused as a user's error."""
    done = cst(*words, cwd=cwd)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("cst: ")]
    return line


RECIPE = """
name: try
model: {path: miniature}
preferences: {path: rows.jsonl}
training: {max_steps: 1}
"""
ROW = {"system": "Be kind.", "prompt": "Hi?", "chosen": "Hello.", "rejected": "No.", "task": "manners"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "try.yaml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    return tmp_path


def test_the_seven_verbs_are_commands():
    assert tuple(VERB_HELP) == VERBS
    shown = cst("--help").stdout
    assert all(verb in shown for verb in (*VERBS, "run", "demo", "chat", "merge"))


def test_a_pickled_adapter_is_never_merged(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter" / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    assert "is a pickle" in refused("merge", "miniature", "adapter", "merged", cwd=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_help_and_import_leave_torch_alone():
    code = "import sys; sys.argv=['cst','--help']; import cst.cli\ntry: cst.cli.main()\nexcept SystemExit: pass\n"
    code += "print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_check_says_what_a_run_would_do(folder):
    done = cst("check", "try.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "train-cst" in done.stdout
    assert "to do" in done.stdout
    assert not (folder / "runs").exists()


def test_check_as_json_holds_the_resolved_recipe(folder):
    done = cst("check", "try.yaml", "--set", "training.beta=0.2", "--json", cwd=folder)
    told = json.loads(done.stdout)
    assert told["recipe"]["training"]["beta"] == 0.2
    assert told["stages"]["condition-cst"] == "to do"


def test_condition_then_train_then_nothing_to_do(folder):
    assert "condition-cst: made" in cst("condition", "try.yaml", cwd=folder).stderr
    trained = cst("train", "try.yaml", cwd=folder)
    assert trained.returncode == 0, trained.stderr
    assert "loss 0.6931 ->" in trained.stdout
    assert (folder / "runs/try/models/cst/adapter/adapter_model.safetensors").exists()
    assert "nothing to do" in cst("train", "try.yaml", cwd=folder).stderr


def test_export_writes_the_published_columns(folder):
    cst("condition", "try.yaml", cwd=folder)
    done = cst("export", "runs/try/preferences/cst.jsonl", "out.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "out.json").read_text()) == [ROW]


def test_export_writes_the_format_that_is_named_and_tells_its_rows(folder):
    done = cst("export", "rows.jsonl", "out.jsonl", "--format", "trl-conversational", "--plain", "--json", cwd=folder)
    written = json.loads((folder / "out.jsonl").read_text())
    assert json.loads(done.stdout) == {"rows": 1, "format": "trl-conversational", "file": "out.jsonl"}
    assert [turn["role"] for turn in written["prompt"]] == ["system", "user"]
    assert written.keys() == {"prompt", "chosen", "rejected"}
    assert "There is no format 'trll' here; choose among cst, paper" in refused(
        "export", "rows.jsonl", "x.jsonl", "--format", "trll", cwd=folder
    )


def test_export_sets_bad_rows_aside_and_goes_on_when_told_to(folder):
    with (folder / "rows.jsonl").open("a") as file:
        file.write("no row\n")
    assert "rows.jsonl:2 is not JSON" in refused("export", "rows.jsonl", "out/rows.json", cwd=folder)
    assert not (folder / "out/rows.json").exists()
    done = cst("export", "rows.jsonl", "out/rows.json", "--skip-bad-rows", "--read-as", "paper", cwd=folder)
    assert "1 of 2 rows of rows.jsonl can't be used; they are in out/rows.jsonl.quarantine.jsonl" in done.stderr
    assert json.loads((folder / "out/rows.json").read_text()) == [ROW]
    assert json.loads((folder / "out/rows.jsonl.quarantine.jsonl").read_text())["text"] == "no row"


def test_export_writes_prompts_too(folder):
    (folder / "prompts.csv").write_text("goal,target\nSing.,Sure\n")
    done = cst("export", "prompts.csv", "out.jsonl", "--format", "messages", "--plain", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 rows in out.jsonl" in done.stderr
    assert "the columns ['target'] are not read" in done.stderr
    assert json.loads((folder / "out.jsonl").read_text()) == {"messages": [{"role": "user", "content": "Sing."}]}


def test_an_audit_tells_clean_from_not_by_its_exit_code(folder):
    clean = cst("audit", "rows.jsonl", "--json", cwd=folder)
    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout)["is_clean"] is True
    with (folder / "rows.jsonl").open("a") as file:
        file.write(json.dumps({**ROW, "chosen": "My previous answer was rash."}) + "\n")
    faulty = cst("audit", "rows.jsonl", "--html", "out/audit.html", cwd=folder)
    assert faulty.returncode == 1, faulty.stderr
    assert "rows.jsonl: not clean: 2 preferences, 0 bad rows, 1 kind of fault" in faulty.stdout
    assert "chosen speaks of a revision" in (folder / "out/audit.html").read_text()
    assert "There is no file none.jsonl" in refused("audit", "none.jsonl", cwd=folder)


def test_an_audit_without_a_tokenizer_leaves_torch_alone(folder):
    code = "import sys; sys.argv=['cst','audit','rows.jsonl']; import cst.cli\ntry: cst.cli.main()\n"
    code += "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_a_card_is_printed(folder):
    cst("condition", "try.yaml", cwd=folder)
    done = cst("card", "runs/try", "--of", "dataset", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("---\n")
    assert "# try: preference rows" in done.stdout
    assert "choose one with --model, among cst" in refused(
        "card", "runs/try", "--of", "model", "--model", "x", cwd=folder
    )


def test_a_misspelt_key_names_the_nearest_right_one(folder):
    (folder / "try.yaml").write_text(RECIPE.replace("max_steps", "max_step"))
    assert "try.yaml: unknown key 'training.max_step'. Did you mean 'max_steps'?" in refused(
        "train", "try.yaml", cwd=folder
    )


def test_an_override_passes_through_the_schema(folder):
    assert "training.beta=-1" in refused("train", "try.yaml", "--set", "training.beta=-1", cwd=folder)


def test_a_missing_recipe_and_missing_rows_are_named(folder):
    assert "There is no recipe file nothing.yaml" in refused("run", "nothing.yaml", cwd=folder)
    (folder / "rows.jsonl").unlink()
    assert "There is no file rows.jsonl" in refused("train", "try.yaml", cwd=folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"chosen": None}, "rows.jsonl:2 has chosen=null, and text is needed."),
        ({"prompt": ""}, "rows.jsonl:2 has an empty prompt ('')"),
        ({"rejected": "Hello."}, "rows.jsonl:2 is no Preference: chosen and rejected are the same text"),
    ],
)
def test_a_bad_row_is_named_and_nothing_made_is_lost(folder, change, expected):
    cst("condition", "try.yaml", cwd=folder)
    before = (folder / "runs/try/preferences/cst.jsonl").read_bytes()
    with (folder / "rows.jsonl").open("a") as file:
        file.write(json.dumps({**ROW, **change}) + "\n")
    assert expected in refused("condition", "try.yaml", cwd=folder)
    assert (folder / "runs/try/preferences/cst.jsonl").read_bytes() == before


def test_a_row_without_a_field_is_named(folder):
    (folder / "rows.jsonl").write_text(json.dumps({key: ROW[key] for key in ("prompt", "chosen")}))
    message = refused("condition", "try.yaml", cwd=folder)
    assert "rows.jsonl:1 has the columns ['chosen', 'prompt'], which fit no format" in message
    assert "The nearest is trl, which also needs ['rejected']." in message


def test_a_row_longer_than_the_model_is_refused_before_training(folder):
    long = {**ROW, "prompt": "word " * 3000}
    (folder / "rows.jsonl").write_text(json.dumps(long))
    message = refused("train", "try.yaml", cwd=folder)
    assert "leaves no room for 2 of 2 responses" in message
    assert "drop_long" in message


def test_a_model_that_is_not_there_is_named(folder):
    message = refused("train", "try.yaml", "--set", "model.path=./no/such/model", cwd=folder)
    assert "No model folder at './no/such/model'" in message


def no_template(model: Path) -> None:
    (model / "chat_template.jinja").unlink()


def no_system_role(model: Path) -> None:
    template = model / "chat_template.jinja"
    refuse = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template.write_text(refuse + template.read_text())


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def own_code(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "code.Model"}}))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (no_template, "no chat template"),
        (no_system_role, "fold_into_user"),
        (pickled, "pickle"),
        (own_code, "trust_remote_code"),
    ],
)
def test_a_model_that_can_not_be_used_is_refused_with_what_to_do(folder, spoil, expected):
    from cst.miniature import model_path

    model = folder / "model"
    shutil.copytree(model_path(), model)
    spoil(model)
    assert expected in refused("train", "try.yaml", "--set", "model.path=model", cwd=folder)


def test_a_template_without_system_role_is_trained_on_when_folding_is_named(folder):
    from cst.miniature import model_path

    shutil.copytree(model_path(), folder / "model")
    no_system_role(folder / "model")
    words = ("--set", "model.path=model", "--set", "model.system_policy=fold_into_user")
    done = cst("train", "try.yaml", *words, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_another_recipe_in_the_same_folder_is_refused_until_update(folder):
    cst("condition", "try.yaml", cwd=folder)
    message = refused("condition", "try.yaml", "--set", "training.beta=0.2", cwd=folder)
    assert "changed: training" in message
    assert cst("condition", "try.yaml", "--set", "training.beta=0.2", "--update", cwd=folder).returncode == 0


def test_chat_needs_a_known_configuration_and_model(folder):
    (folder / "chat.yaml").write_text("name: talk\nmodel: {path: miniature}\nconfigurations: miniature\n")
    from cst.recipe.reading import load_recipe
    from cst.store import write_json

    recipe = load_recipe(folder / "chat.yaml")
    write_json(folder / "runs/talk/recipe.json", recipe)
    assert "'nonsense' isn't in the run; choose among none, harmless" in refused(
        "chat", "runs/talk", "-c", "nonsense", cwd=folder
    )
    words = ("chat", "runs/talk", "-c", "harmless", "--compare", "uncensored", "--model", "base")
    assert "no model 'other'" in refused(*words[:-1], "other", "-m", "Hello", cwd=folder)
    asked = "How do I brew mint tea for the baker?\n\n"
    begun = [sys.executable, "-m", "cst", *words]
    done = subprocess.run(begun, capture_output=True, text=True, cwd=folder, input=asked, check=True)
    assert [line.split("]")[0] for line in done.stdout.splitlines()] == ["[base, harmless", "[base, uncensored"]


def test_a_missing_run_folder_is_named(folder):
    assert "There is no file runs/none/recipe.json" in refused("chat", "runs/none", "-c", "harmless", cwd=folder)
