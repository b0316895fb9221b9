"""The whole way from logits to the loss against an independent float64 NumPy version, to 1e-9."""

import numpy as np
import pytest
import torch
from tiny import mirrored_preferences, tiny_model, tiny_tokenizer

from cst.models.logps import response_logps
from cst.models.rendering import Renderer
from cst.training.batches import tokenize
from cst.training.loss import PairLogps, dpo_loss, ipo_loss, nll_of


def numpy_logp(logits: np.ndarray, tokens: tuple[int, ...], start: int) -> float:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logps = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return float(sum(logps[position - 1, tokens[position]] for position in range(start, len(tokens))))


def numpy_loss(policy, reference, lengths, *, beta: float, kind: str, nll_weight: float) -> list[float]:
    losses = []
    for (pc, pr), (rc, rr), (nc, nr) in zip(policy, reference, lengths, strict=True):
        if kind == "sigmoid":
            loss = np.log1p(np.exp(-beta * ((pc - rc) - (pr - rr))))
        else:
            loss = ((pc - rc) / nc - (pr - rr) / nr - 1 / (2 * beta)) ** 2
        losses.append(float(loss + nll_weight * -pc / nc))
    return losses


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
@pytest.mark.parametrize("nll_weight", [0.0, 0.7])
@torch.no_grad()
def test_loss_is_numpys(kind: str, nll_weight: float):
    rows = tokenize(mirrored_preferences(5), Renderer.for_tokenizer(tiny_tokenizer()))
    models = {"policy": tiny_model(1).double(), "reference": tiny_model(0).double()}
    ours, theirs = {}, {}
    for name, model in models.items():
        chosen = response_logps(model, [row.chosen for row in rows], pad_token_id=0, batch_size=4)
        rejected = response_logps(model, [row.rejected for row in rows], pad_token_id=0, batch_size=4)
        ours[name] = PairLogps(chosen, rejected)
        theirs[name] = [
            tuple(
                numpy_logp(model(input_ids=torch.tensor([s.tokens])).logits[0].numpy(), s.tokens, s.response_start)
                for s in (row.chosen, row.rejected)
            )
            for row in rows
        ]
    lengths = [tuple(len(s.tokens) - s.response_start for s in (row.chosen, row.rejected)) for row in rows]
    loss = {"sigmoid": dpo_loss, "ipo": ipo_loss}[kind](ours["policy"], ours["reference"], beta=0.1)
    loss = loss + nll_weight * nll_of(ours["policy"])
    expected = numpy_loss(theirs["policy"], theirs["reference"], lengths, beta=0.1, kind=kind, nll_weight=nll_weight)
    assert loss.tolist() == pytest.approx(expected, abs=1e-9, rel=1e-9)
