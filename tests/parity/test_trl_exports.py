"""An exported file trains in trl as it is: the columns beside its own are overlooked, and the first loss is ln 2."""

import math

import pytest
from datasets import load_dataset
from tiny import mirrored_preferences, tiny_model, tiny_tokenizer
from trl import DPOConfig, DPOTrainer

from cst.models.rendering import Renderer
from cst.preferences.exports import export_preferences
from cst.records import Message
from cst.training.batches import tokenize

TURNS = (Message(role="user", content="First?"), Message(role="assistant", content="Yes."))
SEVERAL = [row.model_copy(update={"history": TURNS}) for row in mirrored_preferences(2)]
BARE = [row.model_copy(update={"system_prompt": None}) for row in mirrored_preferences(2)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("format", "suffix", "rows"),
    [
        ("trl-conversational", "jsonl", mirrored_preferences(2)),
        ("trl-conversational", "parquet", SEVERAL),
        ("trl-conversational-implicit", "jsonl", SEVERAL),
        ("trl", "jsonl", BARE),
    ],
)
def test_an_exported_file_trains_unmodified(tmp_path, format, suffix, rows):
    path = tmp_path / f"rows.{suffix}"
    export_preferences(path, rows, format=format)
    kind = {"jsonl": "json"}.get(suffix, suffix)
    data = load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"id", "configuration"} <= set(data.column_names)
    settings = DPOConfig(
        output_dir=str(tmp_path / "out"),
        use_cpu=True,
        bf16=False,
        report_to=[],
        max_steps=1,
        logging_steps=1,
        per_device_train_batch_size=len(rows),
        gradient_checkpointing=False,
        max_length=None,
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = DPOTrainer(
        model=tiny_model(0),
        ref_model=tiny_model(0),
        args=settings,
        train_dataset=data,
        processing_class=tiny_tokenizer(),
    )
    if format != "trl":  # bare text is trained without a chat template
        ours = tokenize(rows, Renderer.for_tokenizer(tiny_tokenizer()))
        theirs = [[*row["prompt_ids"], *row["chosen_ids"]] for row in trainer.train_dataset]
        assert theirs == [list(row.chosen.tokens) for row in ours]
    trainer.train()

    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
