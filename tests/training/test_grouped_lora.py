"""Projections against the modules of torch and peft that they stand for, and which modules they are made of."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from cst.training.grouped_lora import Projection, project, projection_of

RANKS = {"first": 3, "second": 5}
"""`third` has no adapter."""


class Trio(nn.Module):
    """Three linear layers of one input, of unlike sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(12, size, bias=False) for size in (8, 6, 10))

    def forward(self, states: Tensor) -> tuple[Tensor, ...]:
        return self.first(states), self.second(states), self.third(states)


def adapted(**further: object) -> nn.Module:
    """A trio under adapters whose B is not 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LoraConfig(target_modules=list(RANKS), rank_pattern=RANKS, lora_alpha=6, **further)
        model = get_peft_model(Trio(), config).base_model.model
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.2)
    return model.eval()


def projections(model: nn.Module, *, keeps: bool = True) -> list[Projection]:
    found = [projection_of(getattr(model, name), keeps=keeps) for name in ("first", "second", "third")]
    assert None not in found
    return found


def computed(model: nn.Module, dtype: torch.dtype, *, ours: bool, autocast: bool = False) -> list[Tensor]:
    """Outputs, then gradients of the input and of all A and B, of a loss that weighs every output."""
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(2, 9, 12, generator=generator).to(dtype).requires_grad_()
    weights = [torch.randn(2, 9, size, generator=generator) for size in (8, 6, 10)]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outs = project(states, projections(model)) if ours else model(states)
    loss = sum((out * weight.to(out.dtype)).sum() for out, weight in zip(outs, weights, strict=True))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [part.detach() for part in (*outs, *torch.autograd.grad(loss, [states, *trained]))]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_outputs_and_gradients_are_pefts(dtype: torch.dtype, tolerance: float):
    model = adapted().to(dtype)
    ours, stock = (computed(model, dtype, ours=which) for which in (True, False))
    assert len(ours) == 3 + 1 + 4
    for found, expected in zip(ours, stock, strict=True):
        assert found.dtype == expected.dtype
        assert (found - expected).abs().max() < tolerance * (1 + expected.abs().max())


@pytest.mark.parametrize("base", [torch.float32, torch.bfloat16])
def test_under_autocast_all_is_as_near_the_truth_as_pefts(base: torch.dtype):
    model = adapted()
    for name, parameter in model.named_parameters():
        if "lora" not in name:
            parameter.data = parameter.data.to(torch.bfloat16).to(base)
    ours, stock = (computed(model, base, ours=which, autocast=True) for which in (True, False))
    truth = computed(model.double(), torch.float64, ours=False)
    for found, usual, exact in zip(ours, stock, truth, strict=True):
        assert found.dtype == usual.dtype
        assert (found - exact).square().mean() < 1.5 * (usual - exact).square().mean() + 1e-9


def test_gradients_have_the_type_of_the_adapter():
    model = adapted()
    for name, parameter in model.named_parameters():
        if "lora" not in name:
            parameter.data = parameter.data.bfloat16()
    _, _, _, of_input, *of_factors = computed(model, torch.bfloat16, ours=True)
    assert of_input.dtype == torch.bfloat16
    assert {gradient.dtype for gradient in of_factors} == {torch.float32}


def test_a_wrong_scaling_is_seen():
    """The control."""
    model = adapted().double()
    stock = computed(model, torch.float64, ours=False)
    model.second.scaling["default"] *= 1.01
    ours = computed(model, torch.float64, ours=True)
    apart = [float((a - b).abs().max()) > 1e-4 for a, b in zip(ours, stock, strict=True)]
    assert apart == [False, True, False, True, False, False, True, True]


def test_a_cast_weight_is_kept_only_if_asked():
    kept, made = (projections(adapted(), keeps=keeps)[0] for keeps in (True, False))
    assert kept.weight_as(torch.bfloat16) is kept.weight_as(torch.bfloat16)
    assert made.weight_as(torch.bfloat16) is not made.weight_as(torch.bfloat16)
    assert kept.weight_as(torch.float32) is kept.weight


def hooked() -> nn.Module:
    model = adapted()
    model.first.base_layer.register_forward_hook(lambda _module, _inputs, _output: None)
    return model


def trained_base() -> nn.Module:
    model = adapted()
    model.first.base_layer.weight.requires_grad_(True)
    return model


def with_bias() -> nn.Module:
    model = adapted()
    model.first.base_layer.bias = nn.Parameter(torch.zeros(8))
    return model


def disabled() -> nn.Module:
    model = adapted()
    model.first.enable_adapters(enabled=False)
    return model


def merged() -> nn.Module:
    model = adapted()
    model.first.merge()
    return model


class Sharded(nn.Parameter):
    """A weight that isn't what it seems, as quantized ones and parts of one are."""


def sharded() -> nn.Module:
    model = adapted()
    model.first.base_layer.weight = Sharded(model.first.base_layer.weight.detach(), requires_grad=False)
    return model


STRANGE = {
    "parts of a weight": sharded,
    "DoRA": lambda: adapted(use_dora=True),
    "dropout": lambda: adapted(lora_dropout=0.1).train(),
    "bias of the adapter": lambda: adapted(lora_bias=True),
    "bias": with_bias,
    "weights to train": trained_base,
    "hooks": hooked,
    "disabled": disabled,
    "merged": merged,
}


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
@pytest.mark.parametrize("name", STRANGE)
def test_what_is_not_plain_has_no_projection(name: str):
    assert projection_of(STRANGE[name]().first, keeps=True) is None
    assert projection_of(adapted().first, keeps=True) is not None


def test_dropout_that_is_off_is_plain():
    assert projection_of(adapted(lora_dropout=0.1).first, keeps=True) is not None


def test_without_gradients_any_weight_is_frozen():
    with torch.no_grad():
        assert projection_of(trained_base().first, keeps=True) is not None
