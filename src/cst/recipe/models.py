"""The recipe sections that name models: the start model, and further models to talk to."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from cst.records import Record, Text

BaseUrl: TypeAlias = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")]
"""An address without credentials or query."""

Dtype: TypeAlias = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    Field(description="Data type of the weights in memory; `auto`: float32 on a CPU, else the checkpoint's."),
]
Device: TypeAlias = Annotated[
    str | None, Field(description="For example `cpu` or `cuda:0`; by default a GPU if there is one.")
]
BatchSize: TypeAlias = Annotated[int, Field(ge=1, le=4096, description="Conversations answered per batch.")]
InFlight: TypeAlias = Annotated[
    int, Field(ge=1, le=1024, description="Maximum number of concurrent calls; lowered when the server asks for it.")
]
Retries: TypeAlias = Annotated[int, Field(ge=0, le=100, description="How often a failed call is repeated.")]
FirstWait: TypeAlias = Annotated[
    float, Field(gt=0, le=600, description="Longest wait before the first retry; doubles with each retry.")
]


class ModelSettings(Record):
    """The start model. It answers, critiques and rewrites; it is trained; frozen, it is the DPO reference."""

    path: Text = Field(description="Folder or Hub id of a chat model; `miniature` ships with cst.")
    dtype: Dtype = "auto"
    quantization: Literal["none", "8bit", "4bit"] = Field(
        default="none", description="Load linear layers in 8 or 4 bits (bitsandbytes). Only adapters can be trained."
    )
    device: Device = None
    system_policy: Literal["native", "fold_into_user"] = Field(
        default="native",
        description="If the template has no system role: stop with an error (`native`), or put the system prompt "
        "before the user's text.",
    )
    chat_template: Path | None = Field(
        default=None, description="Replaces the tokenizer's chat template: Jinja, or Alpaca-style JSON."
    )


class Prices(Record):
    """What a model's tokens cost, in any currency."""

    prompt_per_million: float = Field(default=0.0, ge=0, description="Price of a million prompt tokens.")
    completion_per_million: float = Field(default=0.0, ge=0, description="Price of a million completion tokens.")


class EndpointSettings(Record):
    """A model behind OpenAI-compatible servers: vLLM, SGLang, llama.cpp, ollama, or a hosted API."""

    kind: Literal["endpoint"] = Field(description="A model behind one or more servers.")
    base_urls: Annotated[tuple[BaseUrl, ...], Field(min_length=1)] = Field(
        description="Servers of the same model, for example `http://localhost:8000/v1`. The least busy one is called."
    )
    model: Text = Field(description="The model's name on the servers, and in the journal of answers.")
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="Environment variable that holds the API key. cst never writes the key to disk.",
    )
    in_flight: InFlight = 32
    retries: Retries = 12
    first_wait_seconds: FirstWait = 0.5
    longest_wait_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Upper limit of these waits; a server's Retry-After is added."
    )
    connect_timeout_seconds: float = Field(default=10.0, gt=0, le=600, description="Timeout for connecting.")
    read_timeout_seconds: float = Field(
        default=600.0, gt=0, le=86400, description="Timeout until an answer begins, and again until it ends."
    )
    token_limit_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="The servers' name for the token limit; some accept only one of the two."
    )
    sends_seed: bool = Field(default=True, description="Send a seed with each request. Some hosted APIs reject it.")
    logprobs: bool = Field(default=False, description="Request the log-probs of the answer's tokens.")
    prefill: Literal["refuse", "continue_final_message"] = Field(
        default="refuse",
        description="If an answer must begin with given words: stop with an error (`refuse`), or use vLLM's and "
        "SGLang's parameter.",
    )
    prices: Prices = Field(default=Prices(), description="What tokens cost.")


class LocalChatSettings(ModelSettings):
    """A model in this process."""

    kind: Literal["local"] = Field(description="A model in this process.")
    batch_size: BatchSize = 32


class PythonChatSettings(Record):
    """Your own chat model, given by the same name to `cst.run` (docs/extending.md)."""

    kind: Literal["python"] = Field(description="Your own chat model: `cst.run(..., chats={NAME: ...})`.")


ChatModelSettings: TypeAlias = Annotated[
    EndpointSettings | LocalChatSettings | PythonChatSettings, Field(discriminator="kind")
]
