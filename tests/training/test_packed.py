"""Packs against a float64 oracle that computes one sequence at a time, without padding, masks or chunks."""

import copy
import random

import pytest
import torch
from packable_models import configs, family
from tiny import tuned
from torch import Tensor, nn

from cst.models.rendering import TokenSequence
from cst.training.logps import ResponseLogps
from cst.training.loss import PairLogps, dpo_loss
from cst.training.packed import packed_response_logps
from cst.training.packs import plan_packs
from cst.training.tree_attention import attending_in_trees

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
    loss = dpo_loss(PairLogps(*sides), PairLogps(*apart), beta=0.1, loss_type="sigmoid", nll_weight=0.0).loss
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


@pytest.mark.parametrize("budget", [64, 100, 300, 4096])
def test_any_packing_gives_the_same_sums(budget: int):
    model, sequences = family("gemma3").double(), rows((30, 8, 20, 60), 3)
    random.Random(0).shuffle(sequences)
    found = packed_response_logps(model, sequences, token_budget=budget)
    assert torch.allclose(found.logps, oracle(model, sequences), atol=1e-5, rtol=1e-7)
    assert found.lengths.tolist() == [len(s.tokens) - s.response_start for s in sequences]


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
    packed_response_logps(model, sequences, token_budget=150)
    assert passed == [len(pack.tokens) for pack in plan_packs(sequences, 150)]
    assert sum(passed) < sum(len(sequence.tokens) for sequence in sequences)
