"""What is minimised: the losses and gradients of preferences and demonstrations against oracles, and how they start."""

import copy
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest
import torch
from accelerate import Accelerator
from demonstrated import demonstrations, learn_a_little, run, sft, step_of, work_on
from held_out import Scripted
from running import files, forward_hook, metrics, settings
from tiny import load_tiny, mirrored_preferences, tiny_model, tiny_tokenizer
from torch import Tensor, nn

from cst.errors import TrainingError
from cst.models.loading import LoadedModel, load_model
from cst.models.logps import ResponseLogps
from cst.models.rendering import Renderer, TokenSequence
from cst.records import Demonstration, Message
from cst.training.batches import Row, tokenize, tokenize_demonstrations, with_inputs
from cst.training.evaluating import EvaluationSet, evaluate
from cst.training.folder import TrainingResult
from cst.training.loss import PairLogps, PreferenceLoss, dpo_loss, margin_of, nll_of
from cst.training.meters import RowMeters, Update
from cst.training.objectives import PreferenceObjective, fine_tune, train
from cst.training.policy import policy_of
from cst.training.scoring import Packed, scorer_of
from cst.training.step import Work

EVERY_OTHER = {"eval_steps": 2, "validation": 5}
KINDS: dict[str, dict[str, object]] = {
    "packed": {"tokens_per_pack": 120},
    "whole rows, packed": {"tokens_per_pack": 120, "train_on_inputs": True},
    "padded": {"lora_dropout": 1e-12, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    "whole rows, padded": {"lora_dropout": 1e-12, "train_on_inputs": True},
    "full": {"full": True, "weight_decay": 0.1},
    "recomputed": {"gradient_checkpointing": True, "lora_dropout": 0.1},
}


def tokenized(n: int = 12, *, inputs: bool = False) -> list[Row]:
    rows = tokenize_demonstrations(demonstrations(n), Renderer.for_tokenizer(tiny_tokenizer()))
    return [with_inputs(row) for row in rows] if inputs else rows


def oracle(policy: nn.Module, rows: list[Row]) -> tuple[float, dict[str, Tensor]]:
    """The same in float64, a sequence at a time: all rows' surprise at their learned tokens, over all those tokens."""
    exact = copy.deepcopy(policy).double()
    exact.zero_grad()
    surprise, count = torch.zeros((), dtype=torch.float64), 0
    for row in rows:
        tokens, first = torch.tensor(row.sequences[0].tokens), row.sequences[0].response_start
        scores = exact(input_ids=tokens[None, :-1]).logits[0, first - 1 :]
        picked = scores.gather(1, tokens[first:, None])[:, 0]
        surprise = surprise + (scores.logsumexp(-1) - picked).sum()
        count += len(picked)
    loss = surprise / count
    loss.backward()
    return loss.item(), {name: p.grad for name, p in exact.named_parameters() if p.grad is not None}


def furthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Greatest difference between two gradients, as a share of the greatest entry."""
    assert found.keys() == expected.keys()
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    return max(float((found[name].double() - expected[name]).abs().max()) for name in expected) / scale


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "recomputed"])
def test_loss_and_gradient_of_a_step_are_the_oracles(kind: str, loaded: LoadedModel):
    settings = sft(max_grad_norm=1e9, **KINDS[kind])
    rows = tokenized(inputs=settings.train_on_inputs)
    with work_on(loaded, settings, rows) as work:
        assert isinstance(work.scorer, Packed) == ("padded" not in kind)
        true_loss, true_gradient = oracle(work.policy, rows)
        loss, gradient = step_of(work, list(range(12)))
    assert loss == pytest.approx(true_loss, rel=1e-5)
    assert furthest(gradient, true_gradient) < 1e-5


def test_a_mean_of_means_would_be_seen(loaded: LoadedModel):
    """The control: weighing rows alike, or passes alike, is another loss."""
    rows = tokenized()
    with work_on(loaded, sft(), rows) as work:
        loss, _ = step_of(work, list(range(12)))
        alone = [oracle(work.policy, [row])[0] for row in rows]
    assert abs(fmean(alone) - loss) > 1e-3


@pytest.mark.parametrize("inputs", [False, True])
def test_any_splitting_is_the_same_training(inputs: bool, loaded: LoadedModel, tmp_path: Path):
    """Packed or padded, in few passes or many, eight rows a step or four."""
    ways = {
        "one pass": {},
        "packs": {"tokens_per_pack": 100},
        "padded": {"lora_dropout": 1e-12},
        "row by row": {"lora_dropout": 1e-12, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    }
    losses = []
    for name, way in ways.items():
        run(loaded, tmp_path / name, train_on_inputs=inputs, **way)
        losses.append([line.loss for line in metrics(tmp_path / name)])
    assert len(losses[0]) == 6
    assert all(other == pytest.approx(losses[0], abs=1e-5) for other in losses)
    assert losses[0][-1] < losses[0][0] - 0.1


def test_the_start_is_the_start_models_own_loss(loaded: LoadedModel, tmp_path: Path):
    result = run(loaded, tmp_path, per_device_train_batch_size=12)
    assert result.first_loss == pytest.approx(oracle(tiny_model(), tokenized())[0], rel=1e-5)
    assert (result.rows, result.dropped, result.cut) == (12, 0, 0)


def test_a_line_tells_tasks_apart_and_weighs_tokens(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path, per_device_train_batch_size=6, num_train_epochs=2)
    for line in metrics(tmp_path):
        assert line.tokens == sum(row.learned for row in tokenized())
        assert {name: task.rows for name, task in line.tasks.items()} == {"instructions": 6, "safety": 6}
        assert sum(task.tokens * task.nll for task in line.tasks.values()) / line.tokens == pytest.approx(line.loss)
        assert line.scalars().keys() >= {"loss", "learning_rate", "instructions/nll", "safety/nll"}


def answer(folder: Path) -> list[int]:
    """What the tuned model says to the first prompt, at most 40 tokens."""
    tuned = load_model(str(folder), device="cpu")
    prompt = tuned.renderer.prompt([Message(role="user", content="How do I make a potion?")])
    said = tuned.model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=40, pad_token_id=0)
    return said[0, len(prompt) :].tolist()


def test_the_end_is_learned(loaded: LoadedModel, tmp_path: Path):
    row = demonstrations(1, first=1)
    settings = sft(full=True, num_train_epochs=30, learning_rate=2e-2)
    result = fine_tune(row, loaded=loaded, settings=settings, folder=tmp_path)
    assert result.model is not None
    said = answer(result.model)
    assert loaded.renderer.parse(said) == row[0].response
    assert said[-1] == loaded.renderer.end_token_id


def test_the_control_a_cut_row_teaches_no_end(loaded: LoadedModel, tmp_path: Path):
    """The same row without its last token, which is all that `cut_long` takes of it."""
    row = demonstrations(1, first=1)
    (tokens,) = tokenize_demonstrations(row, loaded.renderer)
    settings = sft(full=True, num_train_epochs=30, learning_rate=2e-2, cut_long=True, max_length=tokens.longest - 1)
    result = fine_tune(row, loaded=loaded, settings=settings, folder=tmp_path)
    assert (result.rows, result.cut) == (1, 1)
    assert result.model is not None
    said = answer(result.model)
    assert loaded.renderer.parse(said).startswith(row[0].response)
    assert loaded.renderer.end_token_id not in said


@pytest.mark.parametrize("forwards", [3, 7, 9, 11])
@pytest.mark.parametrize("kind", ["packed", "whole rows, padded", "full", "recomputed"])
def test_interrupted_anywhere_it_ends_in_the_same_bytes(kind: str, forwards: int, loaded: LoadedModel, tmp_path: Path):
    changes = {**KINDS[kind], **EVERY_OTHER, "load_best_model_at_end": True}
    passes = 0

    def interrupt(*_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == forwards:
            raise KeyboardInterrupt

    run(loaded, tmp_path / "whole", **changes)
    with forward_hook(loaded, interrupt), pytest.raises(KeyboardInterrupt):
        run(loaded, tmp_path / "cut", **changes)
    run(load_tiny(Path(loaded.path)), tmp_path / "cut", **changes)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def tuned(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if name.startswith(("adapter/", "model/"))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_the_same_with_and_without_validation(kind: str, loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "without", **KINDS[kind])
    run(loaded, tmp_path / "with", **KINDS[kind], **EVERY_OTHER)
    lines = metrics(tmp_path / "with")
    assert [line.step for line in lines if line.evaluation] == [2, 4, 6]
    assert [line.model_copy(update={"evaluation": None}) for line in lines] == metrics(tmp_path / "without")
    assert tuned(tmp_path / "with") == tuned(tmp_path / "without")


@pytest.mark.parametrize("kind", ["whole rows, packed", "padded", "full", "recomputed"])
def test_the_validation_loss_is_that_of_the_saved_weights(kind: str, loaded: LoadedModel, tmp_path: Path):
    """Without dropout, on all tokens of the rows as the settings would have them learned."""
    settings = sft(**KINDS[kind])
    result = run(loaded, tmp_path, **KINDS[kind], validation=5)
    rows = tokenize_demonstrations(demonstrations(5, first=100), loaded.renderer)
    rows = [with_inputs(row) for row in rows] if settings.train_on_inputs else rows
    saved = load_model(str(result.model or loaded.path), device="cpu", adapter=result.adapter).model
    (evaluation,) = [line.evaluation for line in metrics(tmp_path) if line.evaluation]
    assert evaluation.loss == pytest.approx(oracle(saved.requires_grad_(True), rows)[0], rel=1e-5)
    assert evaluation.metric == -evaluation.loss
    assert (evaluation.rows, evaluation.tokens) == (5, sum(row.learned for row in rows))
    assert evaluation.scalars() == {"eval/metric": evaluation.metric, "eval/loss": evaluation.loss}


def test_a_validation_loss_that_is_no_number_is_told_with_its_row(loaded: LoadedModel):
    """Weights that an update broke: the next step would find out, and after the last one there is none."""
    rows = tokenized()
    with work_on(loaded, sft(), rows) as work:
        evaluation_set = EvaluationSet(validation=rows[3:5])
        assert evaluate(evaluation_set, loaded, work).rows == 2
        next(p for name, p in work.policy.named_parameters() if "lora_B" in name).data.fill_(torch.nan)
        with pytest.raises(TrainingError, match=r"loss of 2 of 2 validation rows isn't finite \('row-3' first\)"):
            evaluate(evaluation_set, loaded, work)


def unlearning(loaded: LoadedModel, folder: Path, **changes: object) -> list[float]:
    """A training whose validation loss falls and rises again: what it learns by heart isn't what it is asked."""
    told = {"learning_rate": 0.03, "num_train_epochs": 12, "lr_scheduler_type": "constant", **changes}
    run(loaded, folder, 2, validation=4, eval_steps=1, per_device_train_batch_size=1, **told)
    return [line.evaluation.loss for line in metrics(folder)]


def test_the_weights_of_the_lowest_validation_loss_are_handed_on(loaded: LoadedModel, tmp_path: Path):
    losses = unlearning(loaded, tmp_path, load_best_model_at_end=True, snapshot_steps=list(range(1, 13)))
    best = losses.index(min(losses)) + 1
    assert 1 < best < len(losses) == 12
    weights = files(tmp_path / "adapter")["adapter_model.safetensors"]
    snapshots = files(tmp_path / "snapshots")
    assert [name for name, found in snapshots.items() if found == weights] == [
        f"step-{best:06d}/adapter_model.safetensors"
    ]


def test_a_training_stops_where_the_validation_loss_no_longer_falls(loaded: LoadedModel, tmp_path: Path):
    losses = unlearning(loaded, tmp_path, early_stopping_patience=2)
    assert len(losses) < 12
    assert min(losses) == losses[-3]


def test_held_out_prompts_are_asked_as_well(loaded: LoadedModel, tmp_path: Path):
    settings = sft(metric_for_best_model="worst_rate", eval_steps=2, load_best_model_at_end=True)
    rows, more = demonstrations(), demonstrations(3, first=100)
    asked = Scripted(2, 7, 5)
    result = fine_tune(rows, loaded=loaded, settings=settings, folder=tmp_path, validation=more, held_out=asked)
    found = [line.evaluation for line in metrics(tmp_path) if line.evaluation]
    assert [each.metric for each in found] == [0.2, 0.7, 0.5]
    assert all(each.loss and each.scores for each in found)
    assert result.best_step == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"eval_steps": 2}, "eval_steps is 2, and neither held-out prompts nor validation rows"),
        (
            {"eval_steps": 2, "validation": 3, "metric_for_best_model": "worst_rate", "load_best_model_at_end": True},
            "metric_for_best_model=worst_rate is to decide .* without held-out prompts",
        ),
        ({"max_length": 60}, "max_length=60 leaves no room"),
        ({"method": "dpo"}, "method is dpo, and cst.fine_tune is for sft"),
    ],
)
def test_what_can_not_be_done_is_refused_before_anything_is_written(
    changes: dict[str, object], says: str, loaded: LoadedModel, tmp_path: Path
):
    with pytest.raises(TrainingError, match=says):
        run(loaded, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_settings_of_supervised_tuning_are_refused_by_train(loaded: LoadedModel, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"method is sft, and cst.train is for dpo"):
        train([], loaded=loaded, settings=sft(), folder=tmp_path)


def test_other_rows_and_other_tokens_are_another_training(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path, max_steps=1, validation=3)
    with pytest.raises(TrainingError, match=r"start.tokens"):
        run(loaded, tmp_path, 11, max_steps=1, validation=3)
    with pytest.raises(TrainingError, match=r"start.tokens, training.train_on_inputs, validation differ"):
        run(loaded, tmp_path, max_steps=1, validation=3, train_on_inputs=True)
    with pytest.raises(TrainingError, match="another training: validation differ"):
        run(loaded, tmp_path, max_steps=1, validation=4)
    assert run(loaded, tmp_path, max_steps=1, validation=3).steps == 1


def test_long_rows_are_cut_or_dropped_and_counted(loaded: LoadedModel, tmp_path: Path):
    rows: list[Demonstration] = demonstrations()
    for name, said in {"cut_long": (12, 0, 4), "drop_long": (8, 4, 0)}.items():
        settings = sft(max_steps=1, max_length=60, **{name: True})
        result = fine_tune(rows, loaded=loaded, settings=settings, folder=tmp_path / name)
        assert (result.rows, result.dropped, result.cut) == said
    few = fine_tune(rows, loaded=loaded, settings=sft(max_steps=1, max_length=35, cut_long=True), folder=tmp_path)
    assert (few.rows, few.dropped, few.cut) == (11, 1, 9)


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
    expected = dpo_loss(*sides, beta=0.1) + 0.5 * nll_of(sides[0])
    assert loss.tolist() == expected.tolist()
    assert loss.requires_grad
    assert not meters.requires_grad
    assert meters.shape == (2, objective().width)
    assert meters[:, 0].tolist() == loss.tolist()
    assert objective().units([3, 1]) == 2
    told = objective().line([3, 1], meters, Update(1, epoch=0.5, learning_rate=0.1, grad_norm=1.0))
    assert told.configurations["uncensored"].rows == 2
    assert told.loss == pytest.approx(loss.mean().item())


@pytest.mark.parametrize(("nats", "is_exact", "fine"), [(5e-5, True, True), (2e-4, True, False), (2e-4, False, True)])
def test_the_first_loss_is_ln_2_as_exactly_as_numbers_are(nats: float, is_exact: bool, fine: bool):
    columns = {name: torch.zeros(4, dtype=torch.float64) for name in RowMeters._fields}
    columns["preference_loss"] += torch.log(torch.tensor(2.0, dtype=torch.float64)) + nats
    meters = torch.stack(RowMeters(**columns), dim=1)
    if fine:
        objective().check_start(meters, is_exact=is_exact)
    else:
        with pytest.raises(TrainingError, match=r"The first sigmoid loss is 0.693347, .* reference.safetensors is of"):
            objective().check_start(meters, is_exact=is_exact)


@dataclass(frozen=True)
class Hinge:
    """SLiC's calibration loss on log-ratios: max(0, delta - beta * h) (arXiv 2305.10425, equation 2)."""

    delta: float = 1.0

    def __call__(self, policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
        return (self.delta - beta * margin_of(policy, reference)).clamp(min=0)


def mean_of_rows(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    return dpo_loss(policy, reference, beta=beta).mean()


def prefer(loaded: LoadedModel, folder: Path, loss: PreferenceLoss | None, **changes: object) -> TrainingResult:
    preferences = mirrored_preferences(4)
    return train(preferences, loaded=loaded, settings=settings(**changes), folder=folder, loss=loss)


@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_a_loss_of_ones_own_has_the_oracles_gradient(beta: float, loaded: LoadedModel):
    """Of a step, packed in float32, against float64 and a sequence at a time; some rows are beyond the hinge."""
    asked = settings(beta=beta, max_grad_norm=1e9)
    rows = tokenize(mirrored_preferences(4), loaded.renderer)
    with policy_of(loaded, asked) as policy:
        learn_a_little(policy)
        exact = copy.deepcopy(policy).double()
        logps = torch.stack([torch.stack([logp_alone(exact, side) for side in row.sequences]) for row in rows])
        shifts = torch.linspace(-3, 3, len(rows), dtype=torch.float64)
        reference = torch.stack([logps[:, 0] + shifts, logps[:, 1]], dim=1).detach()
        margins = (logps[:, 0] - reference[:, 0]) - (logps[:, 1] - reference[:, 1])
        expected = torch.where(beta * margins < 1, 1 - beta * margins, 0).mean()
        expected.backward()
        objective = PreferenceObjective(rows, reference, asked, Path("unused"), Hinge())
        scorer = scorer_of(loaded, asked, rows)
        work = Work(rows, objective, policy, asked, Accelerator(cpu=True), scorer, Path("unused"))
        loss, gradient = step_of(work, list(range(len(rows))))
    assert (beta * margins >= 1).any() == (beta == 2.0)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    true = {name: p.grad for name, p in exact.named_parameters() if p.grad is not None}
    assert furthest(gradient, true) < 1e-5


def logp_alone(model: nn.Module, sequence: TokenSequence) -> Tensor:
    tokens, first = torch.tensor(sequence.tokens), sequence.response_start
    logps = model(input_ids=tokens[None, :-1]).logits[0, first - 1 :].log_softmax(-1)
    return logps.gather(1, tokens[first:, None]).sum()


def test_a_loss_of_ones_own_is_part_of_the_training(loaded: LoadedModel, tmp_path: Path):
    result = prefer(loaded, tmp_path / "run", Hinge())
    assert result.first_loss == pytest.approx(1.0, abs=1e-4), "every margin is 0 at the start"
    assert result.last_loss < 0.99
    assert prefer(loaded, tmp_path / "run", Hinge()) == result
    for other in (Hinge(2.0), None):
        with pytest.raises(TrainingError, match=r"another training: loss\.name"):
            prefer(loaded, tmp_path / "run", other)


def test_dpo_written_out_is_the_same_training(loaded: LoadedModel, tmp_path: Path):
    prefer(loaded, tmp_path / "named", None)
    prefer(loaded, tmp_path / "given", dpo_loss)
    assert tuned(tmp_path / "given") == tuned(tmp_path / "named")


def test_a_loss_must_be_one_and_give_each_row_its_own(loaded: LoadedModel, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"loss_type=ipo and loss=Hinge\(delta=1.0\) are two losses"):
        prefer(loaded, tmp_path, Hinge(), loss_type="ipo")
    with pytest.raises(TrainingError, match=r"mean_of_rows .*gave \[\] numbers for 8 rows; give each row's own loss"):
        prefer(loaded, tmp_path, mean_of_rows)
