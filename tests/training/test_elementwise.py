"""Norm, SwiGLU and rotary embedding against the stock ones, values and gradients, and float64 as the truth of bf16."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from cst.training.elementwise import rms_norm, rotate, swiglu

EPSILON = 1e-5
Function = Callable[[Tensor, Tensor], Tensor]


def stock_norm(states: Tensor, other: Tensor) -> Tensor:
    """Torch's where numbers are float64, which transformers' would round to float32."""
    if states.dtype == torch.float64:
        return functional.rms_norm(states, states.shape[-1:], weight_for(other), EPSILON)
    norm = LlamaRMSNorm(states.shape[-1], eps=EPSILON).to(states.dtype)
    norm.weight = torch.nn.Parameter(weight_for(other), requires_grad=False)
    return norm(states)


def our_norm(states: Tensor, other: Tensor) -> Tensor:
    return rms_norm(states, weight_for(other), EPSILON, states.dtype)


def weight_for(other: Tensor) -> Tensor:
    return other.detach()[0, 0, 0]


def angles(states: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of [B, T, D], of other angles in each half, as a law of the two functions needs."""
    generator = torch.Generator().manual_seed(9)
    found = torch.rand(states.shape[0], states.shape[1], states.shape[-1], generator=generator, dtype=torch.float64) * 6
    return found.cos().to(states.dtype), found.sin().to(states.dtype)


def stock_rotation(states: Tensor, other: Tensor) -> Tensor:
    first, second = apply_rotary_pos_emb(states, other, *angles(states), unsqueeze_dim=2)
    return first * second


def our_rotation(states: Tensor, other: Tensor) -> Tensor:
    cos, sin = (part[:, :, None] for part in angles(states))
    return rotate(states, cos, sin) * rotate(other, cos, sin)


def stock_swiglu(states: Tensor, other: Tensor) -> Tensor:
    return functional.silu(states) * other


PAIRS = {"norm": (our_norm, stock_norm), "swiglu": (swiglu, stock_swiglu), "rotation": (our_rotation, stock_rotation)}


def numbers() -> list[Tensor]:
    """Two inputs and a gradient: [2, 7, 3, 8] each."""
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, 7, 3, 8, generator=generator, dtype=torch.float64) for _ in range(3)]


def computed(function: Function, dtype: torch.dtype) -> list[Tensor]:
    """The output, and the gradients that there are."""
    states, other, grad = (part.to(dtype) for part in numbers())
    inputs = states.requires_grad_(), other.requires_grad_()
    out = function(*inputs)
    grads = torch.autograd.grad(out, inputs, grad, allow_unused=True)
    return [out.detach().double(), *(part.double() for part in grads if part is not None)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_are_those_of_the_stock(name: str, dtype: torch.dtype, tolerance: float):
    ours, stock = (computed(function, dtype) for function in PAIRS[name])
    assert len(ours) == len(stock)
    for found, expected in zip(ours, stock, strict=True):
        assert (found - expected).abs().max() < tolerance * (1 + expected.abs().max())


@pytest.mark.parametrize("name", PAIRS)
def test_bf16_is_as_near_the_truth_as_the_stock(name: str):
    truth = computed(PAIRS[name][1], torch.float64)
    ours, stock = (computed(function, torch.bfloat16) for function in PAIRS[name])
    for found, usual, exact in zip(ours, stock, truth, strict=True):
        assert (found - exact).square().mean() < 1.5 * (usual - exact).square().mean()


@pytest.mark.parametrize("name", PAIRS)
def test_the_three_are_told_apart(name: str):
    """The control: each is far from what the stock makes of slightly other inputs."""
    ours, stock = PAIRS[name]
    states, other, _ = numbers()
    assert (ours(states, other) - stock(states * 1.01, other.roll(1, -1))).abs().max() > 1e-3


def test_a_norm_under_autocast_gives_its_type():
    states, other, _ = numbers()
    out = rms_norm(states.float(), weight_for(other.float()), EPSILON, torch.bfloat16)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, our_norm(states.float(), other.float()).bfloat16())
