"""The recipe section on training: from preferences or a mixture to an adapter."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from cst.records import NOT_WRITTEN_IF_NONE, Record, Text

OF_DPO = ("loss", "loss_type", "beta", "nll_weight", "reference")
"""Settings that only `method: dpo` has."""

OF_SFT = ("train_on_inputs", "cut_long")
"""Settings that only `method: sft` has."""


def _is_off(value: bool) -> bool:
    """Newer settings are not written while off, so that the recipe of an older run still compares equal."""
    return not value


Metric: TypeAlias = Literal["worst_rate", "mean_rate", "eval_loss"]


def _metric_of_method(read: dict[str, Any]) -> Metric:
    return "eval_loss" if read.get("method") == "sft" else "worst_rate"


class TrainingSettings(Record):
    """How the adapter is trained. Keys are named as in Hugging Face's trainer; defaults are the paper's."""

    method: Literal["dpo", "sft"] = Field(
        default="dpo",
        exclude_if=lambda method: method == "dpo",
        description="`dpo` on preferences, or `sft`: supervised tuning on `mixture`.",
    )
    train_on_inputs: bool = Field(
        default=False,
        exclude_if=_is_off,
        description="sft: take the loss on prompt tokens too.",
    )
    loss: Annotated[Text | None, NOT_WRITTEN_IF_NONE] = Field(
        default=None, description="Your own preference loss, by its name in `cst.run(..., losses={NAME: ...})`."
    )
    loss_type: Literal["sigmoid", "ipo"] = Field(
        default="sigmoid", description="`sigmoid`: DPO (Rafailov et al. 2023); `ipo`: Azar et al. 2023."
    )
    beta: float = Field(default=0.1, gt=0, le=100, description="Strength of the tie to the reference model.")
    nll_weight: float = Field(
        default=0.0, ge=0, le=100, description="Weight of the chosen response's mean NLL per token, added to the loss."
    )
    learning_rate: float = Field(default=5e-5, gt=0, le=1, description="Peak learning rate of AdamW.")
    per_device_train_batch_size: int = Field(
        default=2,
        ge=1,
        le=65536,
        description="Rows per step before accumulation; if padded, rows per forward pass.",
    )
    gradient_accumulation_steps: int = Field(
        default=4, ge=1, le=65536, description="Multiplies the rows per optimizer step."
    )
    tokens_per_pack: int | None = Field(
        default=None, ge=2, description="Unique tokens per forward pass, 2560 by default. Lower it to save memory."
    )
    num_train_epochs: int = Field(
        default=1, ge=1, le=1000, description="Passes over the rows, unless max_steps is set."
    )
    max_steps: int | None = Field(default=None, ge=1, description="Number of optimizer steps, instead of epochs.")
    warmup_steps: int | None = Field(
        default=None,
        ge=0,
        exclude_if=lambda steps: steps is None,
        description="Warm-up steps, instead of warmup_ratio.",
    )
    warmup_ratio: float = Field(default=0.1, ge=0, le=1, description="Warm-up as a share of all steps.")
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Learning-rate schedule after warm-up."
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradient clipping norm.")
    weight_decay: float = Field(default=0.0, ge=0, le=10, description="Weight decay of AdamW.")
    max_length: int | None = Field(
        default=None,
        ge=2,
        description="Token limit of a row; by default the model's. Longer rows are an error.",
    )
    drop_long: bool = Field(default=False, description="Drop and count longer rows instead.")
    cut_long: bool = Field(
        default=False,
        exclude_if=_is_off,
        description="sft: cut and count longer rows instead; cut rows have no end token.",
    )
    full: bool = Field(default=False, description="Train all weights instead of a LoRA adapter.")
    lora_r: int = Field(default=24, ge=1, le=4096, description="LoRA rank.")
    lora_alpha: float = Field(default=48, gt=0, description="LoRA alpha; the adapter is scaled by alpha / r.")
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="LoRA dropout.")
    lora_target_modules: Literal["all-linear"] | tuple[Text, ...] = Field(
        default="all-linear", description="Modules that get an adapter; `all-linear`: all but the output head."
    )
    gradient_checkpointing: Literal["auto"] | bool = Field(
        default="auto",
        description="Recompute activations in the backward pass: less memory, slower. `auto`: on a GPU only.",
    )
    mixed_precision: Literal["auto", "no", "bf16"] = Field(
        default="auto", description="Autocast of the forward pass; `auto`: bf16 if the weights are 16-bit."
    )
    eval_steps: int | None = Field(
        default=None, ge=1, description="Steps between evaluations on held-out prompts; none by default."
    )
    eval_prompts: int = Field(
        default=40,
        ge=1,
        description="Held-out prompts per task for these evaluations; they are not scored later.",
    )
    eval_tasks: tuple[Text, ...] = Field(
        default=(), description="Tasks of these evaluations; all held-out ones by default."
    )
    metric_for_best_model: Metric = Field(
        default_factory=_metric_of_method,
        description="Decides which evaluation is best: the lowest or mean rate over the trained configurations, "
        "or the validation loss (sft only; asks no prompts). By default `worst_rate`; with sft `eval_loss`.",
    )
    early_stopping_patience: int | None = Field(
        default=None, ge=1, description="Stop after this many evaluations without improvement; never by default."
    )
    early_stopping_threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The metric must improve by more than this to count.",
    )
    load_best_model_at_end: bool = Field(
        default=False, description="Keep the weights of the best evaluation instead of the last ones."
    )
    logging_steps: int = Field(default=1, ge=1, description="Steps between log entries.")
    save_steps: int = Field(default=50, ge=1, description="Steps between checkpoints.")
    snapshot_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(), description="Steps after which the adapter is kept, for the curve of scores during training."
    )
    reference: Path | None = Field(
        default=None,
        description="Run folder or reference.safetensors with the start model's log-probs, to reuse them.",
    )
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=(), description="Also send metrics to these trackers."
    )
    seed: int = Field(default=0, ge=0, description="Seed of row order, adapter initialisation and dropout.")

    @property
    def asks_prompts(self) -> bool:
        """Whether evaluations during training ask held-out prompts, rather than compute the validation loss only."""
        return self.eval_steps is not None and self.metric_for_best_model != "eval_loss"

    @model_validator(mode="after")
    def _fits_its_method(self) -> "TrainingSettings":
        for name in OF_DPO if self.method == "sft" else OF_SFT:
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                other = "dpo" if self.method == "sft" else "sft"
                raise ValueError(
                    f"{name}={value} belongs to method: {other}, but method is {self.method}; leave it out"
                )
        if self.metric_for_best_model == "eval_loss" and self.method == "dpo":
            raise ValueError(
                "metric_for_best_model=eval_loss is a validation loss, which only method: sft has; choose a rate"
            )
        if self.loss is not None and self.loss_type != "sigmoid":
            raise ValueError(f"loss={self.loss} and loss_type={self.loss_type} are two losses; leave one of them out")
        if self.cut_long and self.drop_long:
            raise ValueError("cut_long and drop_long exclude each other; leave one of them out")
        return self

    @model_validator(mode="after")
    def _decides_on_evaluations(self) -> "TrainingSettings":
        if self.eval_steps is not None:
            return self
        for name in ("early_stopping_patience", "load_best_model_at_end"):
            if getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)} needs evaluations; set eval_steps, or leave it out")
        return self
