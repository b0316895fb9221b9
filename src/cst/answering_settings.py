"""What answers to a file of instructions are asked for with, and what they were then made with.

The names are those of the original's flags. This file loads no model and imports no torch.
"""

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from cst.distribution import version
from cst.records import Record, Sampling, Text

if TYPE_CHECKING:
    from cst.models.loading import LoadedModel

DEFAULT_SAMPLING = Sampling(temperature=0.0, top_p=0.75, top_k=40, num_beams=4, max_new_tokens=256)
"""The original's defaults (generate_answers.py), but for its temperature of 0.1.

There it meant nothing, as top_p and top_k did: `do_sample` was never set, so its four beams searched and drew nothing.
Here a temperature above 0 is honoured, so the default is the one that does what the original did.
"""

PACKAGES = ("cst", "torch", "transformers", "tokenizers", "peft")

Decoding = Literal["greedy search", "sampling", "beam search", "beam sampling"]


class AnsweringSettings(Record):
    """What decides the answers besides the instructions.

    Without `base_model` it is the one that the adapter says it was made for.
    """

    base_model: Text | None = None
    lora_weights: Text | None = None
    load_8bit: bool = False
    prompt_template_path: Path | None = None
    sampling: Sampling = DEFAULT_SAMPLING
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    device: Text | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    @model_validator(mode="after")
    def _names_a_model(self) -> Self:
        if self.base_model is None and self.lora_weights is None:
            raise ValueError("base_model or lora_weights must name a model: a folder, a hub id, or `miniature`")
        return self

    @property
    def name(self) -> str:
        """What the answering model is called: the adapter's path or hub id, or else the base model's."""
        return self.lora_weights or self.base_model or ""

    @property
    def sampling_used(self) -> Sampling:
        """The sampling; at temperature 0 without what speaks of draws, as it changes no answer and no journal's key."""
        asked = self.sampling
        return asked if asked.temperature else Sampling(num_beams=asked.num_beams, max_new_tokens=asked.max_new_tokens)

    @property
    def decoding(self) -> Decoding:
        """How tokens are chosen."""
        if self.sampling.num_beams > 1:
            return "beam sampling" if self.sampling.temperature else "beam search"
        return "sampling" if self.sampling.temperature else "greedy search"


class Parameters(Record):
    """What answers were made with, as it was and not as it was asked for; the first four are the original's.

    `top_k`, `top_p` and `seed` are None where nothing was drawn.
    """

    model: str
    prompt_template: str | None
    lora_weights: str | None
    load_8bit: bool
    decoding: Decoding
    max_new_tokens: int
    num_beams: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int | None
    batch_size: int
    dtype: str
    device: str
    template_sha256: str
    boundary: str
    end_token: str
    input_sha256: str
    model_fingerprint: str
    fingerprint: str
    versions: dict[str, str]


def parameters_of(
    settings: AnsweringSettings, loaded: "LoadedModel", *, model: str, fingerprint: str, input_sha256: str
) -> Parameters:
    """What answers of `loaded`, made from `model` as the settings say, were made with; `fingerprint` is the chat's."""
    sampling, rendering = settings.sampling_used, loaded.renderer.describe()
    template = settings.prompt_template_path
    is_drawn = sampling.temperature > 0
    return Parameters(
        model=model,
        prompt_template=None if template is None else str(template),
        lora_weights=settings.lora_weights,
        load_8bit=settings.load_8bit,
        decoding=settings.decoding,
        max_new_tokens=sampling.max_new_tokens,
        num_beams=sampling.num_beams,
        temperature=sampling.temperature,
        top_k=sampling.top_k if is_drawn else None,
        top_p=sampling.top_p if is_drawn else None,
        seed=sampling.seed if is_drawn else None,
        batch_size=settings.batch_size,
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        device=loaded.model.device.type,
        template_sha256=rendering.template_sha256,
        boundary=rendering.boundary,
        end_token=rendering.end_token,
        input_sha256=input_sha256,
        model_fingerprint=loaded.fingerprint,
        fingerprint=fingerprint,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )
