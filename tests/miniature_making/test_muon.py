"""The batched Muon is torch's."""

import pytest
import torch

from miniature_making.muon import Muon, orthogonalize


def test_orthogonalized_matrices_have_singular_values_near_one():
    made = orthogonalize(torch.randn(3, 24, 16, generator=torch.Generator().manual_seed(0))).float()
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.5 and values.max() < 1.3


def test_updates_are_those_of_torch():
    """Up to bfloat16: both iterate in it, with their sums in another order."""
    generator = torch.Generator().manual_seed(1)
    start = {
        f"w{i}": torch.randn(shape, generator=generator) for i, shape in enumerate([(16, 16)] * 3 + [(24, 16)] * 2)
    }
    ours = {n: v.clone().requires_grad_() for n, v in start.items()}
    theirs = {n: v.clone().requires_grad_() for n, v in start.items()}
    muon = Muon(ours, momentum=0.95, weight_decay=0.05)
    reference = torch.optim.Muon(
        list(theirs.values()), lr=0.01, momentum=0.95, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(4):
        for name in start:
            gradient = torch.randn(start[name].shape, generator=generator)
            ours[name].grad, theirs[name].grad = gradient.clone(), gradient.clone()
        muon.step(0.01)
        reference.step()
    for name in start:
        moved = (theirs[name] - start[name]).detach()
        assert (ours[name].detach() - start[name]).flatten().tolist() == pytest.approx(
            moved.flatten().tolist(), abs=0.08 * moved.abs().max().item()
        )
