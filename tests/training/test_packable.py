import re

import pytest
import transformers
from packable_models import SHAPE, configs, family, made
from peft import PromptTuningConfig, get_peft_model
from tiny import tuned

from cst.training.packable import TOLERANCE, TOLERANCE_16_BIT, logit_difference, why_not_packed


@pytest.mark.parametrize("name", configs())
def test_each_family_can_be_packed(name: str):
    model = family(name)
    before = model.config._attn_implementation
    assert why_not_packed(model) is None
    assert logit_difference(model) < TOLERANCE / 10
    assert why_not_packed(model.bfloat16()) is None
    assert logit_difference(model) < TOLERANCE_16_BIT / 3
    assert model.config._attn_implementation == before


def test_an_adapter_is_no_hindrance():
    assert why_not_packed(tuned(family("llama"))) is None


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_prompt_that_is_learned_is_one():
    model = get_peft_model(family("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    assert "learned tokens" in why_not_packed(model)


REFUSED = {
    "alibi": (transformers.BloomConfig(vocab_size=99, hidden_size=16, n_layer=2, n_head=2), "attention interface"),
    "no attention": (
        transformers.MambaConfig(vocab_size=99, hidden_size=16, num_hidden_layers=2),
        "attention interface",
    ),
    "convolution": (
        transformers.Lfm2Config(**SHAPE, layer_types=["conv", "full_attention", "conv"]),
        r"other logits in a pack than alone \(they differ by 0\.[2-9]",
    ),
    "sinks": (transformers.GptOssConfig(**SHAPE, head_dim=8, num_local_experts=2), "further arguments .*s_aux"),
    "a window that only the mask knows": (
        transformers.Qwen2MoeConfig(
            **SHAPE,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
            num_experts=2,
            num_experts_per_tok=1,
            use_sliding_window=True,
            sliding_window=6,
            max_window_layers=3,
        ),
        "sliding window None",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_would_be_computed_wrongly_is_refused(name: str):
    config, reason = REFUSED[name]
    found = why_not_packed(made(config))
    assert found is not None
    assert re.search(reason, found)


def test_a_position_off_by_one_is_beyond_the_tolerance():
    """The control: learned positions, shifted in packs alone."""
    model = made(transformers.GPT2Config(vocab_size=99, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1))
    assert why_not_packed(model) is None
    model.transformer.wpe.register_forward_pre_hook(
        lambda _module, inputs: (inputs[0] + (model.config._attn_implementation == "cst_tree"),)
    )
    assert logit_difference(model) > 3 * TOLERANCE_16_BIT
