"""Packs against a float64 oracle that computes one sequence at a time, without padding, masks or chunks."""

import copy
import random
import re

import pytest
import torch
import transformers
from packable_models import SHAPE, configs, family, made
from peft import PromptTuningConfig, get_peft_model
from tiny import tuned
from torch import Tensor, nn

from cst.models.logps import ResponseLogps
from cst.models.rendering import TokenSequence
from cst.training.loss import PairLogps, dpo_loss
from cst.training.packing.attention import attending_in_trees
from cst.training.packing.logps import (
    TOLERANCE,
    TOLERANCE_16_BIT,
    _logit_difference,
    packed_response_logps,
    why_not_packed,
)
from cst.training.packing.packs import pack_of

SHORT = {"least": (0, 1, 1, 1), "usual": (30, 8, 20, 60), "no system prompt": (0, 3, 1, 40)}
LONG = {"policy": (2000, 10, 5, 40), "question": (300, 1700, 1, 3), "answer": (20, 10, 2000, 150)}
"""System prompt, user turn, chosen and rejected, in tokens."""

KINDS = ["llama", "mistral", "gemma3", "gemma2"]
"""Grouped heads all; the others with sliding windows, in some layers, and the last with soft caps besides."""

TREES = [
    *(
        pytest.param(name, SHORT[of], n, id=f"{name}-{of}-{n}")
        for name, n in zip(KINDS, (1, 2, 3, 4), strict=True)
        for of in SHORT
    ),
    pytest.param("llama", LONG["policy"], 2, id="llama-long policy-2"),
    pytest.param("gemma2", LONG["policy"], 1, id="gemma2-long policy-1"),
    pytest.param("mistral", LONG["question"], 2, id="mistral-long question-2"),
    pytest.param("gemma3", LONG["answer"], 1, id="gemma3-long answer-1"),
]
"""Kind of model, lengths, configurations."""


def rows(lengths: tuple[int, int, int, int], configurations: int, prompts: int = 2) -> list[TokenSequence]:
    """Chosen and rejected of each prompt under each configuration: pairs stand side by side."""
    draw = random.Random(5)

    def some(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 120) for _ in range(n))

    system, user, *responses = lengths
    policies = [some(system) for _ in range(configurations)]
    asked = [(some(user), [some(n) for n in responses]) for _ in range(prompts)]
    return [
        TokenSequence(policy + question + response, system + user)
        for policy in policies
        for question, answers in asked
        for response in answers
    ]


def oracle(model: nn.Module, sequences: list[TokenSequence]) -> Tensor:
    """Each sequence alone: [N]."""
    found = []
    for sequence in sequences:
        tokens = torch.tensor([sequence.tokens])
        logps = model(input_ids=tokens).logits[0].double().log_softmax(-1)
        found.append(logps[:-1].gather(1, tokens[0, 1:, None])[sequence.response_start - 1 :].sum())
    return torch.stack(found)


def with_gradient(logps: Tensor, model: nn.Module, start: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """A DPO loss [B] of pairs that stand side by side, and the gradient of its mean by parameter.

    The reference is `start` [2 B], moved a little, so that margins aren't 0.
    """
    lengths = torch.ones(len(logps) // 2, dtype=torch.float64)
    sides = [ResponseLogps(logps[side::2], lengths) for side in (0, 1)]
    apart = [ResponseLogps(start[side::2].detach() + shift, lengths) for side, shift in ((0, 0.3), (1, -0.2))]
    loss = dpo_loss(PairLogps(*sides), PairLogps(*apart), beta=0.1)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return loss.detach(), dict(zip(named, torch.autograd.grad(loss.mean(), named.values()), strict=True))


def furthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Greatest difference between two gradients, as a share of the greatest entry."""
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    return max(float((found[name].double() - expected[name]).abs().max()) for name in expected) / scale


def exact(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).double()


@pytest.mark.parametrize(("name", "lengths", "configurations"), TREES)
def test_loss_and_gradient_are_the_oracles(name: str, lengths: tuple[int, int, int, int], configurations: int):
    sequences = rows(lengths, configurations, prompts=2 if sum(lengths) < 1000 else 1)
    model = tuned(family(name))
    truth = exact(model)
    expected = oracle(truth, sequences)
    true_loss, true_gradient = with_gradient(expected, truth, expected)
    for scored in (model, truth):
        found = packed_response_logps(scored, sequences).logps
        assert found.dtype == torch.float64
        assert ((found - expected).abs() <= 1e-5 * (1 + expected.abs())).all()
        loss, gradient = with_gradient(found, scored, expected)
        assert torch.allclose(loss, true_loss, atol=1e-5, rtol=0)
        assert furthest(gradient, true_gradient) < 1e-5


@pytest.mark.parametrize("adapted", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("name", configs())
def test_each_family_has_its_own_values(name: str, adapted: bool):
    model = tuned(family(name)) if adapted else family(name).requires_grad_(True)
    truth, sequences = exact(model), rows((30, 8, 20, 60), 2)
    found, expected = packed_response_logps(model, sequences).logps, oracle(truth, sequences)
    assert ((found - expected).abs() <= 1e-5 * (1 + expected.abs())).all()
    assert furthest(with_gradient(found, model, expected)[1], with_gradient(expected, truth, expected)[1]) < 1e-5


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_any_packing_gives_the_same_sums(size: int):
    model, sequences = family("gemma3").double(), rows((30, 8, 20, 60), 3)
    random.Random(0).shuffle(sequences)
    packs = [sequences[start : start + size] for start in range(0, len(sequences), size)]
    found = [packed_response_logps(model, pack) for pack in packs]
    logps, lengths = (torch.cat([getattr(part, name) for part in found]) for name in ("logps", "lengths"))
    assert torch.allclose(logps, oracle(model, sequences), atol=1e-5, rtol=1e-7)
    assert lengths.tolist() == [len(s.tokens) - s.response_start for s in sequences]


def test_a_wrong_place_in_the_tree_is_seen():
    """The control: were two sequences' prompts exchanged, or a position off by one, the oracle would not agree."""
    model, sequences = family("llama"), rows((30, 8, 20, 60), 2)
    expected = oracle(model, sequences)
    exchanged = [
        TokenSequence(b.tokens[:38] + a.tokens[38:], 38) for a, b in zip(sequences, sequences[::-1], strict=True)
    ]
    assert (packed_response_logps(model, exchanged).logps - expected).abs().min() > 1e-2
    later = [TokenSequence((5, *s.tokens), s.response_start + 1) for s in sequences]
    assert (packed_response_logps(model, later).logps - expected).abs().min() > 1e-3


@pytest.mark.parametrize("way", ["weights", "autocast"])
def test_bf16_is_as_near_as_a_sequence_alone(way: str):
    """Both round; packs may be no further from the truth than twice a plain bf16 pass."""
    exactly, sequences = tuned(family("llama")), rows((30, 8, 20, 60), 2, prompts=4)
    expected = oracle(exact(exactly), sequences)
    model = copy.deepcopy(exactly).bfloat16() if way == "weights" else exactly
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        errors = [
            found - expected for found in (packed_response_logps(model, sequences).logps, oracle(model, sequences))
        ]
    packed, plain = (float(error.square().mean().sqrt()) for error in errors)
    assert packed < 2 * plain


def test_layers_that_are_computed_again_give_the_same_gradient():
    model, sequences = tuned(family("mistral")), rows((30, 8, 20, 60), 2)
    start = packed_response_logps(model, sequences).logps
    expected = with_gradient(start, model, start)[1]
    base = model.get_base_model()
    base.activation_checkpointing_enable({"use_reentrant": False})
    base.train()
    with attending_in_trees(base):
        found = with_gradient(packed_response_logps(model, sequences).logps, model, start)[1]
    assert furthest(found, expected) < 1e-6


def test_unique_tokens_alone_pass_through_the_layers():
    model, sequences = family("llama"), rows((30, 8, 20, 60), 2)
    passed: list[int] = []
    model.model.layers[0].mlp.register_forward_hook(lambda _m, inputs, _o: passed.append(inputs[0].shape[1]))
    packed_response_logps(model, sequences)
    assert passed == [len(pack_of(sequences).tokens)]
    assert sum(passed) < sum(len(sequence.tokens) for sequence in sequences)


@pytest.mark.parametrize("name", configs())
def test_each_family_can_be_packed(name: str):
    model = family(name)
    before = model.config._attn_implementation
    assert why_not_packed(model) is None
    assert _logit_difference(model) < TOLERANCE / 10
    assert why_not_packed(model.bfloat16()) is None
    assert _logit_difference(model) < TOLERANCE_16_BIT / 3
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
    assert _logit_difference(model) > 3 * TOLERANCE_16_BIT
