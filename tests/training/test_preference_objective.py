"""The objective of preferences: what the loop is told is the loss of `loss.dpo_loss`, and its start is known."""

from pathlib import Path

import pytest
import torch
from running import settings
from tiny import mirrored_preferences, tiny_tokenizer

from cst.errors import TrainingError
from cst.models.rendering import Renderer
from cst.training.batches import tokenize
from cst.training.logps import ResponseLogps
from cst.training.loss import PairLogps, dpo_loss
from cst.training.meters import RowMeters
from cst.training.preference_objective import PreferenceObjective

ROWS = tokenize(mirrored_preferences(2), Renderer.for_tokenizer(tiny_tokenizer()))
REFERENCE = torch.tensor([[-10.0, -20.0], [-30.0, -11.0], [-9.0, -8.0], [-7.0, -6.0]], dtype=torch.float64)
LENGTHS = torch.tensor([[5.0, 9.0], [8.0, 4.0]], dtype=torch.float64)


def objective(**changes: object) -> PreferenceObjective:
    return PreferenceObjective(ROWS, REFERENCE, settings(**changes), Path("reference.safetensors"))


def test_rows_keep_their_own_reference():
    """Rows 3 and 1, in that order."""
    logps = torch.tensor([[-8.0, -6.5], [-29.0, -12.0]], dtype=torch.float64, requires_grad=True)
    loss, meters = objective(nll_weight=0.5).terms([3, 1], ResponseLogps(logps, LENGTHS))
    sides = [
        PairLogps(*(ResponseLogps(values[:, side], LENGTHS[:, side]) for side in (0, 1)))
        for values in (logps, REFERENCE[[3, 1]])
    ]
    expected = dpo_loss(*sides, beta=0.1, nll_weight=0.5).loss
    assert loss.tolist() == expected.tolist()
    assert loss.requires_grad
    assert not meters.requires_grad
    assert meters.shape == (2, objective().width)
    assert meters[:, 0].tolist() == loss.tolist()
    assert objective().units([3, 1]) == 2
    told = objective().line([3, 1], meters, step=1, epoch=0.5, learning_rate=0.1, grad_norm=1.0)
    assert told.configurations["uncensored"].rows == 2
    assert told.loss == pytest.approx(loss.mean().item())


@pytest.mark.parametrize(("nats", "is_exact", "fine"), [(5e-5, True, True), (2e-4, True, False), (2e-4, False, True)])
def test_the_first_loss_is_ln_2_as_exactly_as_numbers_are(nats: float, is_exact: bool, fine: bool):
    columns = {name: torch.zeros(4, dtype=torch.float64) for name in RowMeters.__dataclass_fields__}
    columns["preference_loss"] += torch.log(torch.tensor(2.0, dtype=torch.float64)) + nats
    meters = RowMeters(**columns).stacked()
    if fine:
        objective().check_start(meters, is_exact=is_exact)
    else:
        with pytest.raises(TrainingError, match=r"The first sigmoid loss is 0.693347, .* reference.safetensors is of"):
            objective().check_start(meters, is_exact=is_exact)
