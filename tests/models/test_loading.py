from pathlib import Path

import pytest
import torch

from cst.errors import ModelError, RenderingError
from cst.models.folders import model_fingerprint
from cst.models.loading import load_classifier, load_model, load_renderer, load_tokenizer
from models.families import NO_TEMPLATE, conversation, tokenizer_of
from models.tiny import edit, model_folder
from models.tiny_classifiers import classifier_folder


def test_halves_on_the_disk_are_floats_on_a_cpu(whole: Path) -> None:
    loaded = load_model(str(whole), device="cpu")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert loaded.checkpoint_dtype == torch.float16
    assert not loaded.model.training
    assert loaded.path == str(whole)
    assert loaded.renderer.prompt(conversation(None, "Hi"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_type_asked_for_is_the_type(whole: Path, dtype) -> None:
    assert load_model(str(whole), dtype=dtype, device="cpu").model.dtype == getattr(torch, dtype)


def test_loading_says_nothing(whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(whole), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_template_of_ones_own(whole: Path, tmp_path: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text(
        "{{ messages[-1]['content'] + '<|assistant|>' }}{% if messages[-1].role == 'assistant' %}{% endif %}"
    )
    with pytest.raises(RenderingError, match=r"loses a turn|differently"):
        load_model(str(whole), chat_template=template)
    template.write_text(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    mine = load_model(str(whole), chat_template=template)
    assert mine.fingerprint != load_model(str(whole)).fingerprint
    assert mine.tokenizer.decode(mine.renderer.prompt(conversation(None, "Hi"))) == "<|user|>Hi<|end|><|assistant|>"
    with pytest.raises(ModelError, match="can't be read"):
        load_model(str(whole), chat_template=tmp_path / "none.jinja")


def test_an_unknown_architecture(folder: Path) -> None:
    edit(folder / "config.json", model_type="nonesuch", architectures=["NoneSuch"])
    with pytest.raises(ModelError, match="nonesuch"):
        load_model(str(folder))


def test_cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(str(folder))


def test_weights_of_another_shape(folder: Path) -> None:
    edit(folder / "config.json", intermediate_size=64)
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(str(folder))


def test_weights_that_are_not_there_are_no_random_numbers(folder: Path) -> None:
    edit(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"lacks \d+ weights of its architecture \(model.layers.2"):
        load_model(str(folder))


def test_no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ModelError, match="No tokenizer in"):
        load_tokenizer(str(folder))


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"The tokenizer in .* can't be loaded"):
        load_model(str(folder))


def test_a_tokenizer_without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    tokenizer_of(NO_TEMPLATE).save_pretrained(folder)
    with pytest.raises(RenderingError, match="has no chat template"):
        load_model(str(folder))


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "small", vocab_size=300)
    with pytest.raises(ModelError, match=r"has \d+ tokens, its model embeds 300"):
        load_model(str(folder))


def test_a_system_policy_reaches_the_renderer(whole: Path) -> None:
    assert load_model(str(whole), system_policy="fold_into_user").renderer.system_policy_used == "fold_into_user"


def test_renderer_and_fingerprint_need_no_weights_in_memory(whole: Path) -> None:
    loaded = load_model(str(whole), device="cpu", system_policy="fold_into_user")
    renderer = load_renderer(str(whole), system_policy="fold_into_user")
    assert renderer.describe() == loaded.renderer.describe()
    assert model_fingerprint(str(whole)) == loaded.fingerprint


def test_a_classifier_is_known_by_its_bytes(tmp_path: Path) -> None:
    first, again, other = (
        load_classifier(str(classifier_folder(tmp_path / name, seed=seed)), device="cpu")
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.fingerprint == again.fingerprint == model_fingerprint(str(tmp_path / "a"))
    assert first.fingerprint != other.fingerprint
    assert not first.model.training


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_named(device: str, whole: Path) -> None:
    with pytest.raises(ModelError, match=f"device='{device}' can't be used here: .* Name another one"):
        load_model(str(whole), device=device)


def test_a_classifier_is_never_read_from_a_pickle(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle files only"):
        load_classifier(str(folder))


def test_a_model_without_a_head_is_no_classifier(whole: Path) -> None:
    with pytest.raises(ModelError, match=r"lacks 1 weights of its architecture \(score.weight"):
        load_classifier(str(whole))
