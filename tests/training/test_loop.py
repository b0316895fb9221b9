import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from running import LN2, files, forward_hook, metrics, run, settings
from tiny import load_tiny, mirrored_preferences
from transformers import AutoModelForCausalLM

from cst.errors import TrainingError
from cst.models.loading import LoadedModel
from cst.training.batches import tokenize
from cst.training.objectives import train


def test_the_law_of_the_method_on_a_model(loaded: LoadedModel, tmp_path: Path):
    """First ln 2; below it later, because mirrored rows can be told apart by their system prompt."""
    result = run(loaded, tmp_path, num_train_epochs=15)
    assert result.first_loss == pytest.approx(LN2, abs=1e-5)
    assert result.last_loss < 0.5
    assert result.steps == 45
    assert (result.rows, result.dropped) == (20, 0)
    assert [line.step for line in metrics(tmp_path)] == list(range(1, 46))


def test_without_system_prompts_mirrored_rows_teach_nothing(loaded: LoadedModel, tmp_path: Path):
    """The control: the same rows, where no system prompt tells which way they are ordered."""
    rows = [row.model_copy(update={"system_prompt": None}) for row in mirrored_preferences(4)]
    every_row = settings(num_train_epochs=10, gradient_accumulation_steps=2)
    train(rows, loaded=loaded, settings=every_row, folder=tmp_path)
    assert all(line.loss >= LN2 - 1e-6 for line in metrics(tmp_path))
    assert metrics(tmp_path)[-1].loss == pytest.approx(LN2, abs=0.05)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
def test_the_adapter_is_plain_peft_and_the_start_model_is_given_back(loaded: LoadedModel, tmp_path: Path):
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    result = run(loaded, tmp_path / "run")
    after = loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(loaded.path), result.adapter)
    tokens = torch.tensor([[1, 3, 40, 50]])
    assert not torch.allclose(tuned(tokens).logits, loaded.model(tokens).logits, atol=1e-3)
    again = run(loaded, tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "run")
    assert again.last_loss == result.last_loss


def test_a_finished_training_is_not_trained_again(loaded: LoadedModel, tmp_path: Path):
    result = run(loaded, tmp_path)
    before = files(tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("the model was used")

    with forward_hook(loaded, refuse):
        assert run(loaded, tmp_path) == result
    assert files(tmp_path) == before


def test_another_training_in_the_folder_is_refused(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path, max_steps=1)
    with pytest.raises(TrainingError, match=r"training.beta was 0.1 and is 0.2"):
        run(loaded, tmp_path, max_steps=1, beta=0.2)
    with pytest.raises(TrainingError, match=r"reference.tokens"):
        run(loaded, tmp_path, n=3, max_steps=1)


@pytest.mark.parametrize("forwards", [6, 10, 11, 20, 33])
@pytest.mark.parametrize("full", [False, True])
def test_interrupted_anywhere_it_ends_in_the_same_bytes(forwards: int, full: bool, loaded: LoadedModel, tmp_path: Path):
    """With all weights trained, rows are packed; with dropout in the adapter, they are padded."""
    changes: dict[str, object] = {"full": full, "lora_dropout": 0.1, "snapshot_steps": [3, 5], "tokens_per_pack": 160}
    run(loaded, tmp_path / "whole", **changes)
    count = 0

    def interrupt(*_: object) -> None:
        nonlocal count
        count += 1
        if count == forwards:
            raise KeyboardInterrupt

    with forward_hook(loaded, interrupt), pytest.raises(KeyboardInterrupt):
        run(loaded, tmp_path / "cut", **changes)
    (tmp_path / "cut" / "checkpoints" / ".step-000099.partial").mkdir(parents=True)
    resumed = run(load_tiny(Path(loaded.path)), tmp_path / "cut", **changes)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert resumed.steps == 9


def test_the_anchor_holds_chosen_log_probs_up(loaded: LoadedModel, tmp_path: Path):
    changes: dict[str, object] = {"num_train_epochs": 10}
    free = run(loaded, tmp_path / "free", **changes)
    held = run(loaded, tmp_path / "held", nll_weight=1.0, **changes)
    assert held.first_loss > free.first_loss

    def chosen(folder: str) -> float:
        last = metrics(tmp_path / folder)[-1].configurations
        return min(part.chosen_log_ratio_per_token for part in last.values())

    assert chosen("held") > chosen("free")
    assert metrics(tmp_path / "held")[0].dpo_loss == pytest.approx(LN2, abs=1e-5)


def test_sinking_chosen_log_probs_raise_an_alarm_once(
    loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    result = run(loaded, tmp_path, num_train_epochs=10, learning_rate=0.3, lr_scheduler_type="constant")
    assert result.alarms
    assert len(caplog.records) == len(result.alarms)
    assert "sinking" in caplog.records[0].getMessage()
    first = next(line for line in metrics(tmp_path) if line.sinking)
    assert first.step == min(alarm.step for alarm in result.alarms)
    assert run(loaded, tmp_path, num_train_epochs=10, learning_rate=0.3, lr_scheduler_type="constant") == result


def test_a_row_over_the_limit_is_refused_or_dropped(loaded: LoadedModel, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"training.max_length=60 leaves no room for \d+ of 40 responses"):
        run(loaded, tmp_path, max_length=60)
    with pytest.raises(TrainingError, match=r"max_length=999 is more than the 256 tokens"):
        run(loaded, tmp_path, max_length=999)
    assert list(tmp_path.iterdir()) == []
    longest = max(row.longest for row in tokenize(mirrored_preferences(), loaded.renderer))
    result = run(loaded, tmp_path, max_length=longest - 1, drop_long=True, max_steps=1)
    assert 0 < result.dropped < 20
    assert result.rows + result.dropped == 20


def test_snapshots_are_the_adapter_on_its_way(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path, snapshot_steps=[2, 9, 500])
    snapshots = sorted(p.name for p in (tmp_path / "snapshots").iterdir())
    assert snapshots == ["step-000002", "step-000009"]
    last = files(tmp_path / "snapshots" / "step-000009")
    assert last == files(tmp_path / "adapter")
    assert last != files(tmp_path / "snapshots" / "step-000002")


def test_no_file_says_when_or_where_it_was_made(loaded: LoadedModel, tmp_path: Path):
    run(loaded, tmp_path / "run", max_steps=1)
    told = {name: text for name, text in files(tmp_path / "run").items() if "adapter_config" not in name}
    assert not [name for name, text in told.items() if str(tmp_path).encode() in text]
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == loaded.path


def test_trackers_hear_of_every_step(loaded: LoadedModel, tmp_path: Path):
    pytest.importorskip("tensorboard")
    run(loaded, tmp_path, max_steps=2, report_to=["tensorboard"])
    assert list((tmp_path / "trackers").rglob("events.out.tfevents*"))


def test_a_tracker_that_is_not_installed_is_named(loaded: LoadedModel, tmp_path: Path):
    with pytest.raises(TrainingError, match="names wandb"):
        run(loaded, tmp_path, max_steps=2, report_to=["wandb"])
