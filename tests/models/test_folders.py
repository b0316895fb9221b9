from pathlib import Path

import pytest
from huggingface_hub import constants

from cst.errors import ModelError
from cst.models.loading import load_model
from models.tiny import edit, model_folder


def test_the_fingerprint_is_of_the_files(whole: Path, folder: Path) -> None:
    first = load_model(str(whole), device="cpu").fingerprint
    assert load_model(str(folder), device="cpu", dtype="bfloat16").fingerprint == first
    (folder / "README.md").write_text("a model card decides no answer")
    assert load_model(str(folder), device="cpu").fingerprint == first


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer_config.json", "chat_template.jinja"])
def test_every_file_that_decides_an_answer_is_in_the_fingerprint(whole: Path, folder: Path, name: str) -> None:
    if name == "model.safetensors":
        model_folder(folder, seed=1)
    elif name == "chat_template.jinja":
        (folder / name).write_text((folder / name).read_text() + "{# changed #}")
    else:
        edit(folder / name, changed=True)
    before, after = (load_model(str(path), device="cpu").fingerprint for path in (whole, folder))
    assert before != after


@pytest.mark.parametrize("path", ["./no/such/folder", "/no/such/folder", "no/such/folder", ""])
def test_a_missing_folder(path: str) -> None:
    with pytest.raises(ModelError, match="No model folder at"):
        load_model(path)


def test_a_model_that_the_hub_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"'nobody/nothing' is no folder here, and the hub doesn't give it"):
        load_model("nobody/nothing")


def test_a_file_is_no_folder(whole: Path) -> None:
    with pytest.raises(ModelError, match="No model folder at"):
        load_model(str(whole / "config.json"))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_models_own_code_is_never_run(folder: Path, name: str) -> None:
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    edit(folder / name, auto_map={"AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.Tokenizer", None]})
    with pytest.raises(ModelError, match=rf"{name} asks for code of its own .*never runs"):
        load_model(str(folder))


def test_pickles_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/ran'\ntR.")
    with pytest.raises(ModelError, match=r"pickle files only \(pytorch_model.bin\).*save_pretrained"):
        load_model(str(folder))


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no weights"):
        load_model(str(folder))


def test_no_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load_model(str(folder))
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="it is an adapter: name its model"):
        load_model(str(folder))


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model(str(folder))
