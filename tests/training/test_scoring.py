"""Both ways of scoring are one training but for low bits, and the slow one is taken only with a reason, told once."""

from pathlib import Path

import pytest
import torch
from demonstrated import demonstrations
from running import metrics, run, settings
from tiny import mirrored_preferences

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.training.batches import TokenizedPreference, tokenize
from cst.training.demonstrations import tokenize_demonstrations
from cst.training.logps import response_logps
from cst.training.packs import plan_packs
from cst.training.scoring import Packed, Padded, Scorer, scorer_of


def test_a_model_is_packed_without_being_asked(loaded: LoadedModel, caplog: pytest.LogCaptureFixture):
    rows = tokenize(mirrored_preferences(), loaded.renderer)
    assert scorer_of(loaded, settings(), rows) == Packed(3072)
    assert scorer_of(loaded, settings(tokens_per_pack=500), rows) == Packed(500)
    assert not caplog.records


def test_what_cannot_be_packed_is_padded_and_told_once(
    loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert isinstance(scorer_of(loaded, settings(lora_dropout=0.1), []), Padded)
    caplog.clear()
    run(loaded, tmp_path, lora_dropout=0.1)
    assert [r.getMessage() for r in caplog.records if "padded" in r.getMessage()] == [
        "Rows are padded and not packed, which is slower: training.lora_dropout=0.1 would drop the same of all rows "
        "that share a token."
    ]


def test_packed_and_padded_are_the_same_training(loaded: LoadedModel, tmp_path: Path):
    """A dropout that never drops a thing is what makes the second one padded."""
    run(loaded, tmp_path / "packed", nll_weight=0.5)
    run(loaded, tmp_path / "padded", nll_weight=0.5, lora_dropout=1e-12)
    packed, padded = metrics(tmp_path / "packed"), metrics(tmp_path / "padded")
    assert len(packed) == 9
    for one, other in zip(packed, padded, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)
    assert packed[-1].loss < packed[0].loss - 0.01


def test_any_packing_is_the_same_training(loaded: LoadedModel, tmp_path: Path):
    losses = []
    for tokens in (160, 400, None):
        run(loaded, tmp_path / str(tokens), tokens_per_pack=tokens)
        losses.append([line.loss for line in metrics(tmp_path / str(tokens))])
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[2] == pytest.approx(losses[0], abs=1e-6)


def test_a_pack_smaller_than_a_row_is_refused_before_anything_is_written(loaded: LoadedModel, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"training.tokens_per_pack=20 is smaller than 20 of 20 rows; raise it to"):
        run(loaded, tmp_path / "run", tokens_per_pack=20)
    assert not (tmp_path / "run" / "reference.safetensors").exists()


@pytest.mark.parametrize("scorer", [Packed(3072), Padded(0, 4)], ids=repr)
def test_log_probs_come_back_row_by_row(scorer: Scorer, loaded: LoadedModel):
    """Of rows with two sequences, and of rows with one."""
    pairs = tokenize(mirrored_preferences(3), loaded.renderer)
    single = tokenize_demonstrations(demonstrations(5), loaded.renderer)
    for rows, shape in ((pairs, (6, 2)), (single, (5, 1))):
        with torch.no_grad(), scorer.ready(loaded.model):
            found = scorer.score(loaded.model, rows)
        assert found.logps.shape == found.lengths.shape == shape
        for row, logps, lengths in zip(rows, found.logps, found.lengths, strict=True):
            with torch.no_grad():
                alone = response_logps(loaded.model, row.sequences, pad_token_id=0, batch_size=1)
            assert logps.tolist() == pytest.approx(alone.logps.tolist(), abs=1e-4)
            assert lengths.tolist() == alone.lengths.tolist()


def work_of(share: list[int], rows: list[TokenizedPreference], scorer: Scorer) -> int:
    """Tokens that a share of rows computes: unique ones in a pack, all of them where rows are padded."""
    sides = [side for row in share for side in (rows[row].chosen, rows[row].rejected)]
    if isinstance(scorer, Padded):
        return sum(rows[row].longest for row in share)
    return sum(len(pack.tokens) for pack in plan_packs(sides, sum(len(side.tokens) for side in sides)))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 16, 64])
@pytest.mark.parametrize("scorer", [Packed(160), Packed(2048), Padded(0, 2)], ids=repr)
def test_processes_have_like_loads(scorer: Scorer, world_size: int, loaded: LoadedModel):
    """No process has more than the mean and one share on top (one row where rows are padded, of which many fill one).

    With fewer shares than processes, some have none.
    """
    rows = tokenize(mirrored_preferences(20), loaded.renderer)
    dealt = [scorer.shares(range(40), rows, rank=rank, world_size=world_size) for rank in range(world_size)]
    shares = [share for mine in dealt for share in mine]
    assert sorted(row for share in shares for row in share) == list(range(40))
    work = [[work_of(share, rows, scorer) for share in mine] for mine in dealt]
    units = [[row] for row in range(40)] if isinstance(scorer, Padded) else shares
    largest = max(work_of(unit, rows, scorer) for unit in units)
    mean = sum(map(sum, work)) / world_size
    assert max(map(sum, work)) <= mean + largest
    assert (sum(map(sum, work)) > mean + largest) == (world_size > 1), "one process with everything would be seen"
    assert [] in dealt or world_size < 64
