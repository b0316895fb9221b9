import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn import functional
from transformers import CohereConfig, Gemma3TextConfig, GraniteConfig, LlamaConfig

from cst.training.packing.response_head import LogitRule, label_logps

ROWS, WIDTH, VOCABULARY = 11, 6, 40
RULES = [LogitRule(), LogitRule(scale=0.25), LogitRule(softcap=2.0), LogitRule(scale=3.0, softcap=5.0)]


def head(kind: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(WIDTH, VOCABULARY, bias=kind == "bias", dtype=dtype)
    for parameter in linear.parameters():
        nn.init.normal_(parameter, std=0.7, generator=generator)
    linear.requires_grad_(kind == "trained")
    if kind != "lora":
        return linear
    config = LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)
    return inject_adapter_in_model(config, nn.Sequential(linear))[0].to(dtype)


def states(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return hidden, torch.randint(VOCABULARY, (ROWS,), generator=generator)


def plain(hidden: Tensor, labels: Tensor, layer: nn.Module, rule: LogitRule) -> Tensor:
    logits = layer(hidden) * rule.scale
    if rule.softcap is not None:
        logits = rule.softcap * torch.tanh(logits / rule.softcap)
    return -functional.cross_entropy(logits, labels, reduction="none")


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kind", ["frozen", "bias", "trained", "lora"])
def test_chunks_have_the_values_and_gradients_of_the_whole(kind: str, rule: LogitRule, rows: int):
    layer, (hidden, labels) = head(kind), states()
    assert isinstance(layer, LoraLinear) == (kind == "lora")
    inputs = [hidden, *(p for p in layer.parameters() if p.requires_grad)]
    factors = torch.linspace(-2, 3, ROWS, dtype=torch.float64)
    results = []
    for found in (
        label_logps(hidden, labels, layer, rule, chunk_rows=rows),
        plain(hidden, labels, layer, rule),
    ):
        results.append([found, *torch.autograd.grad(found @ factors, inputs)])
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, atol=1e-12, rtol=1e-12)


def test_half_precision_logits_are_read_in_float32():
    layer, (hidden, labels) = head("frozen", torch.bfloat16), states(torch.bfloat16)
    found = label_logps(hidden, labels, layer, LogitRule())
    assert found.dtype == torch.float32
    expected = layer(hidden).double().log_softmax(-1).gather(1, labels[:, None])[:, 0]
    assert torch.allclose(found.double(), expected, atol=1e-6)


@pytest.mark.parametrize("spread", [0.01, 1, 30, 3000])
def test_log_probs_are_exact_however_far_apart_logits_are(spread: float):
    layer, (hidden, labels) = head("frozen", torch.float32), states(torch.float32)
    found = label_logps(hidden * spread, labels, layer, LogitRule())
    expected = layer(hidden * spread).double().log_softmax(-1).gather(1, labels[:, None])[:, 0]
    assert ((found - expected).abs() <= 1e-6 * (1 + expected.abs())).all()


def test_memory_that_chunks_share_carries_nothing_over():
    """The last chunk is shorter than the others and must not see what they left."""
    layer, (hidden, labels) = head("frozen"), states()
    whole = label_logps(hidden, labels, layer, LogitRule(), chunk_rows=ROWS)
    for rows in (2, 3, 4, 10):
        found = label_logps(hidden, labels, layer, LogitRule(), chunk_rows=rows)
        (slope,) = torch.autograd.grad(found.sum(), hidden)
        assert torch.allclose(found, whole, atol=1e-12, rtol=0)
        assert torch.allclose(slope, torch.autograd.grad(whole.sum(), hidden, retain_graph=True)[0], atol=1e-12)


def test_a_label_of_no_probability_has_a_finite_log_prob():
    layer, (hidden, labels) = head("frozen", torch.float32), states(torch.float32)
    found = label_logps(hidden * 1000, labels, layer, LogitRule())
    assert found.isfinite().all()
    assert found.min() < -200


def test_autocast_is_that_of_a_linear_layer():
    layer, (hidden, labels) = head("frozen", torch.float32), states(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = label_logps(hidden, labels, layer, LogitRule())
        expected = layer(hidden).float().log_softmax(-1).gather(1, labels[:, None])[:, 0]
    assert torch.allclose(found, expected, atol=2e-6, rtol=0)
    found.sum().backward()
    assert hidden.grad.dtype == torch.float32


@torch.no_grad()
def test_without_gradients_nothing_is_kept():
    layer, (hidden, labels) = head("trained"), states()
    found = label_logps(hidden, labels, layer, LogitRule())
    assert not found.requires_grad
    assert torch.allclose(found, plain(hidden, labels, layer, LogitRule()))


def test_rules_are_those_of_the_configurations():
    assert LogitRule.of(LlamaConfig()) == LogitRule()
    assert LogitRule.of(CohereConfig(logit_scale=0.5)) == LogitRule(scale=0.5)
    assert LogitRule.of(GraniteConfig(logits_scaling=8.0)) == LogitRule(scale=0.125)
    assert LogitRule.of(Gemma3TextConfig(final_logit_softcapping=30.0)) == LogitRule(softcap=30.0)
