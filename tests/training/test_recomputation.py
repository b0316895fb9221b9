"""Recomputation gives the same bytes, and is chosen where the measured need is larger than what is free."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from running import files, forward_hook, run, settings
from tiny import mirrored_preferences

from cst.models.loading import LoadedModel
from cst.training.batches import tokenize
from cst.training.policy import policy_of
from cst.training.preference_objective import PreferenceObjective
from cst.training.recomputation import USABLE, kept_bytes, memory_need, must_recompute, recomputing
from cst.training.scoring import scorer_of
from cst.training.step import Work

SAME = {
    "packed": {},
    "packed in bf16": {"mixed_precision": "bf16"},
    "padded, with dropout": {"lora_dropout": 0.2},
    "all weights": {"full": True},
}


@contextmanager
def work_on(loaded: LoadedModel, folder: Path, **changes: object) -> Iterator[Work]:
    """A training that is about to begin."""
    rows, asked = tokenize(mirrored_preferences(), loaded.renderer), settings(**changes)
    with policy_of(loaded, asked) as policy:
        scorer = scorer_of(loaded, asked, rows)
        objective = PreferenceObjective(rows, torch.zeros(len(rows), 2), asked, folder / "unused")
        yield Work(rows, objective, policy, asked, Accelerator(cpu=True), scorer, folder)


@pytest.mark.parametrize("name", SAME)
def test_recomputation_changes_no_byte_of_what_is_trained(name: str, loaded: LoadedModel, tmp_path: Path):
    passes: dict[bool, int] = {}
    for asked in (False, True):
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        handle = loaded.model.model.layers[0].mlp.register_forward_pre_hook(counted)
        run(loaded, tmp_path / str(asked), gradient_checkpointing=asked, **SAME[name])
        handle.remove()
        passes[asked] = count
    assert files(tmp_path / "True") == files(tmp_path / "False")
    assert passes[True] > 1.3 * passes[False], "the control: layers were computed again"
    assert not loaded.model.is_activation_checkpointing


def test_interrupted_without_it_and_resumed_with_it(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "whole", gradient_checkpointing=False)
    forwards = 0

    def interrupt(*_: object) -> None:
        nonlocal forwards
        forwards += 1
        if forwards > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), forward_hook(loaded, interrupt):
        run(loaded, tmp_path / "cut", gradient_checkpointing=False)
    assert (tmp_path / "cut/checkpoints").is_dir()
    run(loaded, tmp_path / "cut", gradient_checkpointing=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize("dropout", [0.0, 1e-12], ids=["packed", "padded"])
def test_it_begins_where_memory_ends(
    dropout: float, loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with work_on(loaded, tmp_path, lora_dropout=dropout) as work:
        need = memory_need(work)
        enough = int(need.at(need.largest) / USABLE) + 1
        caplog.clear()
        assert not must_recompute(work, enough)
        assert not must_recompute(work, None)
        assert not caplog.records
        assert must_recompute(work, enough - 100)
    (told,) = caplog.records
    assert f"{need.largest} tokens at once need" in told.getMessage()


@pytest.mark.parametrize("asked", [True, False])
def test_what_is_asked_for_is_done(asked: bool, loaded: LoadedModel, tmp_path: Path):
    with work_on(loaded, tmp_path, gradient_checkpointing=asked) as work:
        assert must_recompute(work, 0) is asked
        assert must_recompute(work, 2**60) is asked


def test_a_smaller_pack_is_named_where_one_would_fit(
    loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with work_on(loaded, tmp_path) as work:
        need = memory_need(work)
        must_recompute(work, int(need.at(400) / USABLE) + 1)
        must_recompute(work, 1000)
    some, none = (record.getMessage() for record in caplog.records)
    assert "training.tokens_per_pack=360 would fit" in some
    assert "even the largest row alone" in none
    with work_on(loaded, tmp_path, tokens_per_pack=360) as work:
        assert not must_recompute(work, int(need.at(400) / USABLE) + 1)


@pytest.mark.parametrize("changes", [{}, {"mixed_precision": "bf16"}, {"full": True}], ids=str)
def test_two_short_rows_foretell_what_the_largest_pass_keeps(
    changes: dict[str, object], loaded: LoadedModel, tmp_path: Path
):
    with work_on(loaded, tmp_path, **changes) as work:
        need = memory_need(work)
        rows = [work.rows[row] for row in range(8)]
        tokens, kept = work.scorer.tokens(rows), kept_bytes(work, rows)
        assert kept < need.at(tokens)
        with recomputing(work.policy, needed=True):
            assert kept_bytes(work, rows) < kept / 2
        few = [min(work.rows, key=lambda row: row.longest)]
        assert kept / tokens == pytest.approx(kept_bytes(work, few) / work.scorer.tokens(few), rel=0.25)


def test_measuring_moves_no_generator(loaded: LoadedModel, tmp_path: Path):
    with work_on(loaded, tmp_path, lora_dropout=0.5) as work:
        before = torch.get_rng_state()
        memory_need(work)
        assert torch.equal(torch.get_rng_state(), before)
