"""The optimizer steps of trl's DPOTrainer, as a child process takes them.

trl runs its own loop (`Trainer.train`) and hands the turn back between steps; its data loading and logging aren't
timed.
"""

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from cst.models.loading import differentiable, quantization_config
from cst.records import Preference
from cst.store import fingerprint
from training_setup import LEARNING_RATE, LORA_RANK, SEED, Setup
from turns import Turns


def train_with_trl(setup: Setup, turns: Turns) -> None:
    """The peer's steps, by its own trainer."""
    import trl.trainer.utils
    from transformers.utils import logging

    os.environ["TQDM_DISABLE"] = "1"
    logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)  # what transformers tells trl, not us
    if setup.compacted:  # the only way to ask for it: a function that trl's fused head calls and no setting reaches
        if not hasattr(trl.trainer.utils, "_use_triton"):
            raise SystemExit("trl's compaction can't be forced on any more: trl.trainer.utils._use_triton is gone")
        trl.trainer.utils._use_triton = lambda device: True
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trl_trainer(setup, turns, Path(scratch))
        data = trainer.train_dataset
        turns.ready(
            fingerprint([(r["prompt_ids"] + r["chosen_ids"], r["prompt_ids"] + r["rejected_ids"]) for r in data])
        )
        trainer.train()


def _trl_trainer(setup: Setup, turns: Turns, scratch: Path) -> Any:  # noqa: ANN401 - trl ships no types
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback
    from trl import DPOTrainer

    disable_progress_bars()
    trainer = DPOTrainer(
        model=_start_model(setup),
        args=_trl_settings(setup, scratch),
        train_dataset=Dataset.from_list([_conversation(row) for row in setup.rows]),
        processing_class=AutoTokenizer.from_pretrained(setup.folder),
        peft_config=LoraConfig(
            r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[_taking_turns(turns)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _start_model(setup: Setup) -> PreTrainedModel:
    """Quantized as ours is, if at all."""
    dtype = getattr(torch, setup.weights)
    if setup.quantization == "none":
        return AutoModelForCausalLM.from_pretrained(setup.folder, dtype=dtype).to(setup.device)
    quantized = quantization_config(setup.quantization, dtype)
    return differentiable(
        AutoModelForCausalLM.from_pretrained(
            setup.folder, dtype=dtype, quantization_config=quantized, device_map={"": setup.device}
        )
    )


def _trl_settings(setup: Setup, scratch: Path) -> Any:  # noqa: ANN401
    """What the setup says, and the defaults of trl for the rest; but no row is cut at 1,024 tokens, as it would be."""
    from trl import DPOConfig

    return DPOConfig(
        output_dir=str(scratch),
        use_cpu=setup.device == "cpu",
        bf16=setup.bf16,
        per_device_train_batch_size=setup.batch_size,
        gradient_accumulation_steps=setup.rows_per_step // setup.batch_size,
        gradient_checkpointing=setup.gradient_checkpointing,
        precompute_ref_log_probs=setup.precomputed,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_steps=setup.steps,
        max_length=None,
        train_sampling_strategy="sequential",
        seed=SEED,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def _conversation(row: Preference) -> dict[str, list[dict[str, str]]]:
    def turn(role: str, content: str) -> dict[str, str]:
        return {"role": role, "content": content}

    return {
        "prompt": [turn("system", row.system_prompt or ""), turn("user", row.prompt)],
        "chosen": [turn("assistant", row.chosen)],
        "rejected": [turn("assistant", row.rejected)],
    }


def _taking_turns(turns: Turns) -> Any:  # noqa: ANN401
    """A callback of transformers' trainer: a step is measured from its first forward to after its update."""
    from transformers import TrainerCallback

    class TakingTurns(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            turns.wait()
            turns.start()

        def on_step_end(self, *_: object, **__: object) -> None:
            turns.stop()

        def on_log(self, *_: object, logs: dict[str, float], **__: object) -> None:
            if "loss" in logs:
                turns.tell(logs["loss"])

    return TakingTurns()
