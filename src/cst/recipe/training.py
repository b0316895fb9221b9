"""The section of a recipe on training: from preferences to an adapter.

This file owns the words that a user may write of it; the rest is in `recipe`. It knows no room.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.records import Record, Text

OF_DPO = ("loss_type", "beta", "nll_weight", "reference")
"""Settings that say nothing with `method: sft`."""

OF_SFT = ("train_on_inputs", "cut_long")
"""Settings that say nothing with `method: dpo`."""


def _is_off(value: bool) -> bool:
    """What came later isn't written where it is off, so that runs made without it are still of this recipe."""
    return not value


Metric: TypeAlias = Literal["worst_rate", "mean_rate", "eval_loss"]


def _metric_of_method(read: dict[str, Any]) -> Metric:
    return "eval_loss" if read.get("method") == "sft" else "worst_rate"


class TrainingSettings(Record):
    """Rows to an adapter. Names are Hugging Face's where one exists; rates and ranks are the paper's."""

    method: Literal["dpo", "sft"] = Field(
        default="dpo",
        exclude_if=lambda method: method == "dpo",
        description="`dpo` on preferences, or `sft`: supervised tuning on the rows of `mixture`.",
    )
    train_on_inputs: bool = Field(
        default=False,
        exclude_if=_is_off,
        description="sft: learn all tokens of a row, the prompt's too, instead of the response's.",
    )
    loss_type: Literal["sigmoid", "ipo"] = Field(
        default="sigmoid", description="`sigmoid` is DPO's loss (Rafailov et al. 2023), `ipo` that of Azar et al. 2023."
    )
    beta: float = Field(default=0.1, gt=0, le=100, description="Strength of the tie to the reference model.")
    nll_weight: float = Field(
        default=0.0, ge=0, le=100, description="Weight of the chosen response's mean per-token NLL, as an anchor."
    )
    learning_rate: float = Field(default=5e-5, gt=0, le=1, description="Peak learning rate of AdamW.")
    per_device_train_batch_size: int = Field(
        default=2, ge=1, le=65536, description="Rows of a step, times the next key; where padded, also of a pass."
    )
    gradient_accumulation_steps: int = Field(
        default=4, ge=1, le=65536, description="An optimizer step takes this many times as many rows."
    )
    tokens_per_pack: int | None = Field(
        default=None, ge=2, description="Unique tokens in one forward pass; less needs less memory. By default 2560."
    )
    num_train_epochs: int = Field(
        default=1, ge=1, le=1000, description="Passes over the rows, if max_steps is not set."
    )
    max_steps: int | None = Field(default=None, ge=1, description="Optimizer steps; epochs are repeated to reach them.")
    warmup_steps: int | None = Field(
        default=None,
        ge=0,
        exclude_if=lambda steps: steps is None,
        description="Steps with a rising learning rate, instead of a share of them.",
    )
    warmup_ratio: float = Field(default=0.1, ge=0, le=1, description="Share of the steps with a rising learning rate.")
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="How the learning rate falls after the warm-up."
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    weight_decay: float = Field(default=0.0, ge=0, le=10, description="Weight decay of AdamW.")
    max_length: int | None = Field(
        default=None,
        ge=2,
        description="Longest row in tokens; by default what the model takes. Nothing is cut without cut_long.",
    )
    drop_long: bool = Field(default=False, description="Drop rows over max_length (counted) instead of refusing them.")
    cut_long: bool = Field(
        default=False,
        exclude_if=_is_off,
        description="sft: cut rows at max_length (counted) instead of refusing them, without an end token.",
    )
    full: bool = Field(default=False, description="Train all weights instead of a LoRA adapter.")
    lora_r: int = Field(default=24, ge=1, le=4096, description="Rank of the LoRA adapter.")
    lora_alpha: float = Field(default=48, gt=0, description="Scale of the LoRA adapter: alpha / r.")
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    lora_target_modules: Literal["all-linear"] | tuple[Text, ...] = Field(
        default="all-linear", description="Modules with an adapter; `all-linear` leaves out the output head."
    )
    gradient_checkpointing: Literal["auto"] | bool = Field(
        default="auto",
        description="Compute activations again in the backward pass: less memory, slower. `auto`: on a GPU only.",
    )
    mixed_precision: Literal["auto", "no", "bf16"] = Field(
        default="auto", description="Autocast of the forward pass; `auto` is bf16 where weights in memory have 16 bits."
    )
    eval_steps: int | None = Field(
        default=None, ge=1, description="Optimizer steps between two evaluations on held-out prompts; none by default."
    )
    eval_prompts: int = Field(
        default=40, ge=1, description="Held-out prompts a task that are set apart for that, and not scored afterwards."
    )
    eval_tasks: tuple[Text, ...] = Field(
        default=(), description="Tasks whose prompts are asked then; by default all that are held out."
    )
    metric_for_best_model: Metric = Field(
        default_factory=_metric_of_method,
        description="What evaluations are compared by: lowest or mean rate of the configurations trained on, or the "
        "loss of validation rows, which only sft has. By default `worst_rate`; with sft `eval_loss`, and no prompts "
        "are asked.",
    )
    early_stopping_patience: int | None = Field(
        default=None, ge=1, description="Stop after so many evaluations without improvement; never by default."
    )
    early_stopping_threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="What the metric must rise by (a loss, fall by), and more, to count as an improvement.",
    )
    load_best_model_at_end: bool = Field(
        default=False, description="Hand on the weights of the best evaluation instead of the last ones."
    )
    logging_steps: int = Field(default=1, ge=1, description="Optimizer steps between two entries of log and trackers.")
    save_steps: int = Field(default=50, ge=1, description="Optimizer steps between two checkpoints.")
    snapshot_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(), description="Steps whose adapter is kept, to draw scores along the training."
    )
    reference: Path | None = Field(
        default=None,
        description="A run's folder, or a reference.safetensors, to take the start model's log-probs from.",
    )
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=(), description="Trackers that metrics are also sent to."
    )
    seed: int = Field(default=0, ge=0, description="Order of rows, adapter's start values, dropout.")

    @property
    def asks_prompts(self) -> bool:
        """Whether evaluations along the training ask held-out prompts: all do but those that go by a loss alone."""
        return self.eval_steps is not None and self.metric_for_best_model != "eval_loss"

    @model_validator(mode="after")
    def _fits_its_method(self) -> "TrainingSettings":
        for name in OF_DPO if self.method == "sft" else OF_SFT:
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                other = "dpo" if self.method == "sft" else "sft"
                raise ValueError(
                    f"{name}={value} is a setting of method: {other}, and method is {self.method}; leave it out"
                )
        if self.metric_for_best_model == "eval_loss" and self.method == "dpo":
            raise ValueError(
                "metric_for_best_model=eval_loss is the loss of validation rows, which only method: sft has"
            )
        if self.cut_long and self.drop_long:
            raise ValueError("cut_long and drop_long are two ways to treat the same rows; leave one of them out")
        return self

    @model_validator(mode="after")
    def _decides_on_evaluations(self) -> "TrainingSettings":
        if self.eval_steps is not None:
            return self
        for name in ("early_stopping_patience", "load_best_model_at_end"):
            if getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)} needs evaluations; set eval_steps, or leave it out")
        return self
