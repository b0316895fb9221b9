import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cst.models.logps import ResponseLogps
from cst.store import describe_callable
from cst.training.loss import PairLogps, dpo_loss, ipo_loss, loss_at_reference, margin_of, nll_of

LN2 = math.log(2)

nats = st.floats(-60, 60, allow_nan=False)


def pair(chosen, rejected, lengths=None) -> PairLogps:
    chosen, rejected = (torch.tensor(x, dtype=torch.float64) for x in (chosen, rejected))
    lengths = torch.ones_like(chosen) if lengths is None else torch.tensor(lengths, dtype=torch.float64)
    return PairLogps(ResponseLogps(chosen, lengths), ResponseLogps(rejected, lengths))


def of_margins(margin: Tensor) -> tuple[PairLogps, PairLogps]:
    """Policy and reference with these margins; responses have one token."""
    none = ResponseLogps(torch.zeros_like(margin), torch.ones_like(margin))
    return PairLogps(ResponseLogps(margin, none.lengths), none), PairLogps(none, none)


@given(nats, nats, st.floats(0.01, 5))
def test_log_ratios_that_ignore_the_system_prompt_cost_at_least_ln_2(original: float, revised: float, beta: float):
    policy, reference = pair([original, revised], [revised, original]), pair([0.0, 0.0], [0.0, 0.0])
    loss, margin = dpo_loss(policy, reference, beta=beta).mean(), margin_of(policy, reference)
    assert margin[0] == -margin[1]
    assert loss >= LN2 - 1e-12
    scaled = abs(beta * float(margin[0]))
    if scaled > 1e-3:
        assert loss > LN2
    if scaled == 0:
        assert loss == pytest.approx(LN2, abs=1e-15)


@given(st.floats(0.01, 60), st.floats(0.01, 5))
def test_reading_the_system_prompt_is_the_way_below_ln_2(nats_of_preference: float, beta: float):
    policy, reference = pair([nats_of_preference, nats_of_preference], [0.0, 0.0]), pair([0.0, 0.0], [0.0, 0.0])
    assert dpo_loss(policy, reference, beta=beta).mean() < LN2


def test_terms_of_one_row_by_hand():
    policy, reference = pair([-4.0], [-9.0], [2.0]), pair([-5.0], [-7.0], [2.0])
    assert margin_of(policy, reference).item() == 3.0
    assert dpo_loss(policy, reference, beta=0.5).item() == pytest.approx(math.log1p(math.exp(-1.5)), abs=1e-15)
    assert nll_of(policy).item() == 2.0


def test_ipo_averages_log_ratios_over_tokens():
    policy, reference = pair([-4.0], [-9.0], [4.0]), pair([-6.0], [-7.0], [4.0])
    assert ipo_loss(policy, reference, beta=0.4).item() == pytest.approx((0.5 + 0.5 - 1.25) ** 2)
    assert margin_of(policy, reference).item() == 4.0


@pytest.mark.parametrize("beta", [0.1, 0.3, 1.0])
def test_gradient_is_the_papers_weight(beta: float):
    """Rafailov et al. 2023, section 4: the weight of a row is beta * sigmoid(-beta * margin)."""
    margin: Tensor = torch.linspace(-20, 20, 41, dtype=torch.float64, requires_grad=True)
    dpo_loss(*of_margins(margin), beta=beta).sum().backward()
    assert torch.allclose(margin.grad, -beta * torch.sigmoid(-beta * margin.detach()), atol=1e-15)


def test_an_enormous_margin_stays_finite():
    margin = torch.tensor([-1e6, 1e6], dtype=torch.float64, requires_grad=True)
    loss = dpo_loss(*of_margins(margin), beta=0.5)
    loss.sum().backward()
    assert loss.tolist() == [5e5, 0.0]
    assert margin.grad.tolist() == [-0.5, 0.0]


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
def test_loss_at_reference(beta: float):
    for kind, function in (("sigmoid", dpo_loss), ("ipo", ipo_loss)):
        margin = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        loss = function(*of_margins(margin), beta=beta)
        loss.backward()
        expected, slope = loss_at_reference(beta, kind)
        assert loss.item() == pytest.approx(expected)
        assert abs(margin.grad.item()) == pytest.approx(slope)


def slic(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    return (1 - beta * margin_of(policy, reference)).clamp(min=0)


@dataclass(frozen=True)
class Hinge:
    delta: float

    def __call__(self, policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
        return (self.delta - beta * margin_of(policy, reference)).clamp(min=0)


def test_losses_are_told_apart_by_name_settings_and_source():
    told = [describe_callable(loss) for loss in (slic, dpo_loss, Hinge(1.0), Hinge(2.0))]
    assert told[0]["name"].endswith("test_loss.slic")
    assert told[2]["name"].endswith("test_loss.Hinge: Hinge(delta=1.0)")
    assert len({tuple(each.items()) for each in told}) == 4
    assert describe_callable(Hinge(1.0)) == told[2]
    assert told[2]["source"] == told[3]["source"] != told[0]["source"]
