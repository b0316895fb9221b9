from pathlib import Path

import pytest
import torch
from tiny import load_tiny, tiny_model, tiny_tokenizer, tuned

from cst.errors import ModelError, RenderingError
from cst.models.adapters import save_adapter
from cst.models.loading import load_model, load_renderer
from cst.models.merging import PROBES, merge_adapter
from models.families import ALPACA_FILE, instructed

TOKENS = torch.tensor([[1, 3, 40, 50, 60]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merged_model_answers_as_the_adapter_does(dtype: torch.dtype, tmp_path: Path):
    base = tmp_path / "base"
    tiny_model().to(dtype).save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    adapted = tuned(load_tiny(base).model)
    save_adapter(adapted, tmp_path / "adapter", base=str(base))
    report = merge_adapter(str(base), tmp_path / "adapter", tmp_path / "merged")
    assert report.dtype == str(dtype).removeprefix("torch.")
    assert report.prompts == len(PROBES)
    merged = load_model(str(tmp_path / "merged"), device="cpu")
    assert merged.checkpoint_dtype == dtype
    assert merged.tokenizer.chat_template == tiny_tokenizer().chat_template
    with torch.no_grad():
        difference = (merged.model(TOKENS).logits - adapted(TOKENS).logits).abs().max()
    if dtype == torch.float32:
        assert report.same_answers == report.prompts
        assert report.largest_difference < 1e-4
        assert difference < 1e-4
    else:
        assert 1e-4 < report.largest_difference < 0.5


def test_a_merged_model_keeps_the_template_that_it_was_tuned_with(tmp_path: Path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tiny_model().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    tuned_on = load_model(str(tmp_path / "base"), device="cpu", chat_template=ALPACA_FILE)
    save_adapter(tuned(tuned_on.model), tmp_path / "adapter", base=str(tmp_path / "base"))
    with pytest.raises(RenderingError, match="has no chat template"):
        merge_adapter(str(tmp_path / "base"), tmp_path / "adapter", tmp_path / "merged")
    merge_adapter(str(tmp_path / "base"), tmp_path / "adapter", tmp_path / "merged", chat_template=ALPACA_FILE)
    merged = load_renderer(str(tmp_path / "merged"))
    assert merged.describe() == tuned_on.renderer.describe()
    turn = instructed("Count them.", "one, two")
    assert merged.prompt([turn]) == tuned_on.renderer.prompt([turn])


def test_merging_over_something_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="exists already"):
        merge_adapter(str(tmp_path), tmp_path, tmp_path)
