"""Both ways of scoring are one training but for low bits; the start model's log-probs are computed once and checked."""

import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from demonstrated import demonstrations
from running import files, forward_hook, metrics, run, settings
from tiny import load_tiny, mirrored_preferences, tiny_model, write_tiny

from cst.errors import CstError, ModelError, TrainingError
from cst.models.loading import LoadedModel
from cst.models.logps import response_logps
from cst.models.tensors import save_tensors
from cst.store import fingerprint
from cst.training.batches import Row, tokenize, tokenize_demonstrations
from cst.training.packing.packs import pack_of
from cst.training.policy import is_sharded
from cst.training.scoring import Packed, Padded, Pass, Scorer, passes_of, reference_logps, scorer_of


def test_a_model_is_packed_without_being_asked(loaded: LoadedModel, caplog: pytest.LogCaptureFixture):
    rows = tokenize(mirrored_preferences(), loaded.renderer)
    assert scorer_of(loaded, settings(), rows) == Packed(2560)
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


def test_a_whole_model_makes_a_pass_for_each_share(loaded: LoadedModel):
    rows, scorer = tokenize_demonstrations(demonstrations(3), loaded.renderer), Padded(0, 2)
    assert not is_sharded(loaded.model)
    for step, count in ((range(3), 2), ((), 0)):
        shares = scorer.shares(step, rows, rank=0, world_size=1)
        found = passes_of(step, rows, model=loaded.model, scorer=scorer, accelerator=Accelerator(cpu=True))
        assert found == [Pass(share) for share in shares]
        assert len(found) == count


def work_of(share: list[int], rows: list[Row], scorer: Scorer) -> int:
    """Tokens that a share of rows computes: unique ones in a pack, all of them where rows are padded."""
    sides = [side for row in share for side in (rows[row].chosen, rows[row].rejected)]
    if isinstance(scorer, Padded):
        return sum(rows[row].longest for row in share)
    return len(pack_of(sides).tokens)


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


IDENTITY = {"weights": "a", "tokens": "b"}
NAME = "reference.safetensors"


def compute(
    loaded: LoadedModel, file: Path, identity: dict[str, str] = IDENTITY, given: Path | None = None
) -> torch.Tensor:
    return reference_logps(
        tokenize(mirrored_preferences(3), loaded.renderer),
        model=loaded.model,
        scorer=Packed(500),
        accelerator=Accelerator(cpu=True),
        settings=settings(reference=given, mixed_precision="no"),
        file=file,
        identity=identity,
    )


def refuse(*_: object) -> None:
    raise AssertionError("the model was used")


def test_it_is_the_start_model_computed_once(loaded: LoadedModel, tmp_path: Path):
    found = compute(loaded, tmp_path / NAME)
    rows = tokenize(mirrored_preferences(3), loaded.renderer)
    with torch.no_grad():
        for column, side in enumerate(([row.chosen for row in rows], [row.rejected for row in rows])):
            alone = response_logps(loaded.model, side, pad_token_id=0, batch_size=1).logps
            assert torch.allclose(found[:, column], alone, atol=1e-4)
    assert not found.requires_grad
    with forward_hook(loaded, refuse):
        assert torch.equal(compute(loaded, tmp_path / NAME), found)


def test_that_of_another_training_is_taken_and_kept(loaded: LoadedModel, tmp_path: Path):
    found = compute(loaded, tmp_path / "one" / NAME)
    with forward_hook(loaded, refuse):
        assert torch.equal(compute(loaded, tmp_path / "two" / NAME, given=tmp_path / "one" / NAME), found)
        shutil.rmtree(tmp_path / "one")
        assert torch.equal(compute(loaded, tmp_path / "two" / NAME, given=tmp_path / "one" / NAME), found)
    with pytest.raises(TrainingError, match=r"There is no reference .*one/reference.safetensors"):
        compute(loaded, tmp_path / "three" / NAME, given=tmp_path / "one" / NAME)


def test_a_sweep_takes_it_to_the_same_bytes(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "first", max_steps=1)
    run(loaded, tmp_path / "computed", max_steps=2, beta=0.2)
    run(loaded, tmp_path / "taken", max_steps=2, beta=0.2, reference=tmp_path / "first" / NAME)
    assert files(tmp_path / "taken") == files(tmp_path / "computed")


def test_a_model_that_lies_elsewhere_is_the_same_model(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "here", max_steps=1)
    elsewhere = load_tiny(Path(shutil.copytree(loaded.path, tmp_path / "model")))
    run(elsewhere, tmp_path / "there", max_steps=1, beta=0.2, reference=tmp_path / "here" / NAME)
    assert (tmp_path / "there" / NAME).read_bytes() == (tmp_path / "here" / NAME).read_bytes()


def test_that_of_another_model_on_other_rows_is_refused_with_what_changed(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "one", max_steps=1)
    write_tiny(tmp_path / "model")
    tiny_model(1).save_pretrained(tmp_path / "model")
    other = load_tiny(tmp_path / "model")
    told = rf"weights was {loaded.fingerprint[:12]} and is {other.fingerprint[:12]}, tokens was \w+ and is \w+\. Remove"
    with pytest.raises(TrainingError, match=rf"one/{NAME} was computed for other weights, tokens: {told}"):
        run(other, tmp_path / "two", n=3, reference=tmp_path / "one" / NAME)
    assert not (tmp_path / "two" / NAME).exists()


def test_what_changed_is_named(loaded: LoadedModel, tmp_path: Path):
    compute(loaded, tmp_path / NAME)
    with pytest.raises(TrainingError, match=r"other weights, dtype: weights was a and is c, dtype was absent and is f"):
        compute(loaded, tmp_path / NAME, IDENTITY | {"weights": "c", "dtype": "f"})


def test_no_changed_byte_is_let_through(loaded: LoadedModel, tmp_path: Path):
    compute(loaded, tmp_path / NAME)
    whole = (tmp_path / NAME).read_bytes()
    for place in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CstError, match=r"reference.safetensors (is damaged|was computed|can't be read)"):
            compute(loaded, tmp_path / NAME)


@pytest.mark.parametrize("kept", [0, 4, 200, -8])
def test_a_cut_file_is_refused(kept: int, loaded: LoadedModel, tmp_path: Path):
    compute(loaded, tmp_path / NAME)
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:kept])
    with pytest.raises(ModelError, match="can't be read"):
        compute(loaded, tmp_path / NAME)


@pytest.mark.parametrize(
    ("logps", "expected"),
    [
        (torch.zeros(5, 2).double(), r"torch.float64 of the shape \[5, 2\], and torch.float64 of \[6, 2\] is needed"),
        (torch.zeros(6, 2), r"torch.float32 of the shape \[6, 2\]"),
        (torch.full((6, 2), torch.nan).double(), "12 of its 12 log-probs aren't finite"),
        (torch.ones(6, 2).double(), "its log-probs hash to"),
    ],
)
def test_what_is_not_the_log_probs_of_the_rows_is_refused(
    logps: torch.Tensor, expected: str, loaded: LoadedModel, tmp_path: Path
):
    zeros = torch.zeros(6, 2).double()
    note = IDENTITY | {"sha256": fingerprint(zeros.tolist())}
    save_tensors(tmp_path / NAME, {"logps": zeros}, note=note)
    assert torch.equal(compute(loaded, tmp_path / NAME), zeros)
    save_tensors(tmp_path / NAME, {"logps": logps}, note=note)
    with pytest.raises(TrainingError, match=f"is damaged: .*{expected}"):
        compute(loaded, tmp_path / NAME)


def test_a_start_model_without_finite_log_probs_is_told_by_its_row(loaded: LoadedModel, tmp_path: Path):
    torch.nn.init.constant_(loaded.model.model.norm.weight, torch.nan)
    with pytest.raises(TrainingError, match=r"log-probs of 6 of 6 rows aren't finite \(row 'harmless-0': \[nan, nan"):
        compute(loaded, tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
