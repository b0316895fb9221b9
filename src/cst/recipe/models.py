"""The sections of a recipe that name models: the start model, and those that are talked to.

This file owns the words that a user may write of them; the rest is in `recipe`. It knows no room.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from cst.records import Record, Text

BaseUrl: TypeAlias = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")]
"""An address without credentials or query."""


class ModelSettings(Record):
    """The start model: it answers, criticises and rewrites, is tuned, and is the frozen reference."""

    path: Text = Field(description="Folder or hub id of a chat model; `miniature` is the model that ships with cst.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Type of the weights in memory; `auto` is float32 on a CPU, else the checkpoint's."
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        default="none",
        description="Its linear layers in 8 or 4 bits, by bitsandbytes; only adapters can be trained.",
    )
    device: str | None = Field(default=None, description="Such as `cpu` or `cuda:0`; by default a GPU if there is one.")
    system_policy: Literal["native", "fold_into_user"] = Field(
        default="native",
        description="For templates without a system role: refuse (`native`), or put its text before the user's.",
    )
    chat_template: Path | None = Field(
        default=None,
        description="A chat template in place of the tokenizer's own: Jinja, or an Alpaca-style template in JSON.",
    )


class Prices(Record):
    """What a model's tokens cost, in any one currency."""

    prompt_per_million: float = Field(default=0.0, ge=0, description="Price of a million tokens that are sent.")
    completion_per_million: float = Field(default=0.0, ge=0, description="Price of a million tokens that come back.")


class EndpointSettings(Record):
    """A model behind OpenAI-compatible servers: vLLM, SGLang, llama.cpp, ollama, or a hosted API."""

    kind: Literal["endpoint"] = Field(description="A model behind one or several servers.")
    base_urls: Annotated[tuple[BaseUrl, ...], Field(min_length=1)] = Field(
        description="Servers of the same model, such as `http://localhost:8000/v1`; the least busy one is asked."
    )
    model: Text = Field(description="The model's name at the servers. Answers in the journal are known by it.")
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="Name of the environment variable that holds the key; a key is written down nowhere.",
    )
    in_flight: int = Field(default=32, ge=1, le=1024, description="Calls at once, at most; fewer when servers say so.")
    retries: int = Field(default=12, ge=0, le=100, description="How often a request is asked again before giving up.")
    first_wait_seconds: float = Field(
        default=0.5, gt=0, le=600, description="Longest wait before the first retry; it doubles with each."
    )
    longest_wait_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Waits grow up to this; what Retry-After asks for comes on top."
    )
    connect_timeout_seconds: float = Field(default=10.0, gt=0, le=600, description="Longest wait for a connection.")
    read_timeout_seconds: float = Field(
        default=600.0, gt=0, le=86400, description="Longest wait for an answer to begin, and again for its end."
    )
    token_limit_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="What the servers call the longest answer; some take but one of the two."
    )
    sends_seed: bool = Field(default=True, description="Send a seed with each request; some hosted APIs refuse it.")
    logprobs: bool = Field(default=False, description="Ask for the log-probs of the answer's tokens.")
    prefill: Literal["refuse", "continue_final_message"] = Field(
        default="refuse",
        description="For answers with a given beginning: refuse, or ask as vLLM and SGLang understand it.",
    )
    prices: Prices = Field(default=Prices(), description="What tokens cost.")


class LocalChatSettings(ModelSettings):
    """A model in this process."""

    kind: Literal["local"] = Field(description="A model in this process.")
    batch_size: int = Field(default=32, ge=1, le=4096, description="Conversations answered at once.")


ChatModelSettings: TypeAlias = Annotated[EndpointSettings | LocalChatSettings, Field(discriminator="kind")]
