"""Pretrains the miniature's start model from nothing: a Llama of about a million parameters, in minutes on a CPU.

One run is a function of (seed, steps, number of threads). It can be killed at any moment and goes on from its last
checkpoint: weights, optimizer state and position are saved as safetensors and JSON. Muon for the matrices, AdamW for
the rest, both at one learning rate that is constant to 40 % and then falls linearly; only assistant tokens carry
loss.
"""

import hashlib
import json
import platform
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cst.errors import TrainingError
from cst.progress import track
from miniature_making import documents
from miniature_making.muon import Muon
from miniature_making.tokenizer import BOS, END, MAX_LENGTH, PAD, decisive_tokens, encode, token_id, train_tokenizer

STEPS_PER_LOSS = 50
WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class PretrainingSettings:
    """What a run is made of.

    `tokens_per_batch` counts padded tokens. Documents are sorted by length within pools of `pool_size`, so that little
    is padded, and a step takes `batches_per_step` batches of different lengths: documents of one kind are of one
    length, and steps on one kind after another unlearn what they taught (LOG.md).
    """

    seed: int = 5
    steps: int = 2600
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    tokens_per_batch: int = 1536
    batches_per_step: int = 4
    hidden_size: int = 128
    layers: int = 4
    checkpoint_every: int = 100
    pool_size: int = 2048
    tokenizer_documents: int = 20_000


@dataclass(frozen=True)
class Batch:
    """Right-padded conversations. `tokens` [B, T] int64; `weights` [B, T] float32, 0 where no loss is carried."""

    tokens: Tensor
    weights: Tensor


@dataclass
class Progress:
    """Where a run stands. `losses` are means over STEPS_PER_LOSS steps, the last one over those since."""

    step: int = 0
    pool: int = 0
    step_of_pool: int = 0
    tokens_seen: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list[float])

    def note(self, loss: float) -> None:
        """Take a step's loss into the running mean."""
        nth = self.step % STEPS_PER_LOSS
        if nth == 0:
            self.losses.append(0.0)
        self.losses[-1] += (loss - self.losses[-1]) / (nth + 1)


def build_tokenizer(seed: int, n_documents: int) -> PreTrainedTokenizerFast:
    """The tokenizer, from the first documents behind the first lessons."""
    numbers = range(documents.FIRST_LESSONS, documents.FIRST_LESSONS + n_documents)
    made = (documents.document(seed, index) for index in numbers)
    return train_tokenizer(message.content for document in made for message in document.messages)


def build_model(settings: PretrainingSettings, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A fresh Llama with tied embeddings."""
    torch.manual_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.hidden_size * 11 // 4,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.hidden_size // 32,
        num_key_value_heads=settings.hidden_size // 32,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.03,
        tie_word_embeddings=True,
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, END),
        pad_token_id=token_id(tokenizer, PAD),
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # measured: 1.4 times the tokens per second of fused attention on a CPU
    return model


def pool_steps(settings: PretrainingSettings, tokenizer: PreTrainedTokenizerFast, pool: int) -> list[list[Batch]]:
    """The steps of one pool of documents: batches of documents that are alike in length, dealt out at random."""
    decisive = decisive_tokens(tokenizer)
    rows: list[tuple[list[int], list[float]]] = []
    for index in range(pool * settings.pool_size, (pool + 1) * settings.pool_size):
        made = documents.document(settings.seed, index)
        rows.append(encode(tokenizer, made.messages, made.silent, decisive))
    rows.sort(key=lambda row: len(row[0]))
    batches: list[Batch] = []
    while rows:
        longest = len(rows[-1][0])
        taken = max(1, settings.tokens_per_batch // longest)
        batches.append(_pad(rows[-taken:], token_id(tokenizer, PAD)))
        del rows[-taken:]
    random.Random(f"{settings.seed}|order|{pool}").shuffle(batches)
    steps = max(1, round(len(batches) / settings.batches_per_step))
    return [batches[step::steps] for step in range(steps)]


def _pad(rows: list[tuple[list[int], list[float]]], pad_token_id: int) -> Batch:
    longest = max(len(ids) for ids, _ in rows)
    tokens = torch.full((len(rows), longest), pad_token_id)
    weights = torch.zeros((len(rows), longest))
    for index, (ids, weighs) in enumerate(rows):
        tokens[index, : len(ids)] = torch.tensor(ids)
        weights[index, : len(ids)] = torch.tensor(weighs)
    return Batch(tokens, weights)


def response_loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Weighted sum of the negative log-likelihoods in nats of the tokens that weigh; logits are made for those alone.

    Right padding needs no mask: attention is causal and padding carries no loss.
    """
    hidden = model.model(input_ids=batch.tokens, use_cache=False).last_hidden_state[:, :-1]
    weights = batch.weights[:, 1:]
    wanted = weights > 0
    logits = model.lm_head(hidden[wanted])
    losses = torch.nn.functional.cross_entropy(logits.float(), batch.tokens[:, 1:][wanted], reduction="none")
    return (losses * weights[wanted]).sum()


def learning_rate_factor(step: int, settings: PretrainingSettings) -> float:
    """Warm-up, constant to 40 % of the steps, then linear to 1 %."""
    warmup = min(1.0, (step + 1) / settings.warmup_steps)
    decay_start = 0.4 * settings.steps
    if step < decay_start:
        return warmup
    return min(warmup, 1 - 0.99 * (step - decay_start) / (settings.steps - decay_start))


class _Optimizers:
    """Muon on every matrix but the embedding, AdamW on the rest."""

    def __init__(self, model: LlamaForCausalLM, learning_rate: float) -> None:
        named = dict(model.named_parameters())
        matrices = {n: p for n, p in named.items() if p.ndim == 2 and "embed" not in n}
        self.others = {n: p for n, p in named.items() if n not in matrices}
        self.learning_rate = learning_rate
        self.muon = Muon(matrices, momentum=0.95, weight_decay=WEIGHT_DECAY)
        self.adamw = torch.optim.AdamW(list(self.others.values()), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0)

    def step(self, factor: float) -> None:
        """One update at `factor` times the base rate; gradients are cleared."""
        self.muon.step(self.learning_rate * factor)
        for group in self.adamw.param_groups:
            group["lr"] = self.learning_rate * factor
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The state as plain named tensors."""
        found = {f"{name}|momentum": buffer for name, buffer in self.muon.buffers.items()}
        for name, parameter in self.others.items():
            found |= {f"{name}|{key}": value for key, value in self.adamw.state[parameter].items()}
        return found

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a saved state."""
        for name, buffer in self.muon.buffers.items():
            buffer.copy_(tensors[f"{name}|momentum"])
        for name, parameter in self.others.items():
            keys = [key for key in tensors if key.startswith(f"{name}|")]
            self.adamw.state[parameter] = {key.rpartition("|")[2]: tensors[key] for key in keys}


def _checkpoint(folder: Path, model: LlamaForCausalLM, optimizers: _Optimizers, state: dict[str, object]) -> None:
    """Write everything under one name and rename: a kill leaves the old checkpoint or the new one."""
    weights = {f"model|{name}": value.detach() for name, value in model.named_parameters()}
    tensors = {f"optimizer|{name}": value for name, value in optimizers.tensors().items()}
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "checkpoint.part"
    save_file({**weights, **tensors}, part, metadata={"state": json.dumps(state)})
    part.replace(folder / "checkpoint.safetensors")


def _restore(path: Path, model: LlamaForCausalLM, optimizers: _Optimizers, settings: PretrainingSettings) -> Progress:
    with safe_open(path, framework="pt") as opened:
        state = json.loads(opened.metadata()["state"])
    if state["settings"] != asdict(settings):
        raise TrainingError(
            f"{path} belongs to another run: its settings are {state['settings']}; "
            "give another output folder, or delete it."
        )
    tensors = load_file(path)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model|{name}"])
    optimizers.restore({k.removeprefix("optimizer|"): v for k, v in tensors.items() if k.startswith("optimizer|")})
    return Progress(**state["progress"])


def _work(settings: PretrainingSettings, tokenizer: PreTrainedTokenizerFast, at: Progress) -> Iterator[list[Batch]]:
    """The steps from here to the end; `at` is moved along."""
    steps = pool_steps(settings, tokenizer, at.pool)
    while at.step < settings.steps:
        if at.step_of_pool == len(steps):
            at.pool, at.step_of_pool = at.pool + 1, 0
            steps = pool_steps(settings, tokenizer, at.pool)
        yield steps[at.step_of_pool]
        at.step_of_pool, at.step = at.step_of_pool + 1, at.step + 1


def pretrain(
    out: Path,
    settings: PretrainingSettings | None = None,
    *,
    threads: int | None = None,
    stop_at: int | None = None,
    command: str = "cst miniature pretrain",
) -> Path:
    """Pretrain into the folder `out` and return it: a Hugging Face folder with a `provenance.json`.

    Goes on from `out/checkpoint/` if a run with the same settings left one. `stop_at` ends early, after a checkpoint
    and without writing the model. Raises TrainingError where the checkpoint is another run's or the loss isn't finite.
    """
    settings = settings or PretrainingSettings()
    if threads:
        torch.set_num_threads(threads)
    tokenizer = build_tokenizer(settings.seed, settings.tokenizer_documents)
    model = build_model(settings, tokenizer)
    optimizers = _Optimizers(model, settings.learning_rate)
    saved = out / "checkpoint" / "checkpoint.safetensors"
    at = _restore(saved, model, optimizers, settings) if saved.exists() else Progress()
    began = time.monotonic() - at.seconds
    work = _work(settings, tokenizer, at)
    for batches in track(work, description="pretraining", total=settings.steps, done=at.step):
        if stop_at is not None and at.step >= stop_at:
            break
        at.note(_train_step(model, optimizers, batches, learning_rate_factor(at.step, settings), at.step))
        at.tokens_seen += sum(int(torch.count_nonzero(b.tokens != token_id(tokenizer, PAD))) for b in batches)
        at.seconds = time.monotonic() - began
        after = replace(at, step=at.step + 1, step_of_pool=at.step_of_pool + 1)
        if after.step % settings.checkpoint_every == 0 or after.step == stop_at:
            _checkpoint(saved.parent, model, optimizers, {"settings": asdict(settings), "progress": asdict(after)})
    if stop_at is None or at.step >= settings.steps:
        write_model(out, model, tokenizer, settings, at, command)
    return out


def _train_step(
    model: LlamaForCausalLM, optimizers: _Optimizers, batches: Sequence[Batch], factor: float, step: int
) -> float:
    """One update on the weighted mean over all batches; returns it."""
    model.train()
    whole = sum(float(batch.weights[:, 1:].sum()) for batch in batches)
    mean = 0.0
    for batch in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = response_loss(model, batch) / whole
        loss.backward()
        mean += loss.item()
    if not isfinite(mean):
        raise TrainingError(f"Pretraining's loss at step {step} is {mean}; lower the learning rate.")
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizers.step(factor)
    return mean


def write_model(
    out: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: PretrainingSettings,
    at: Progress,
    command: str,
) -> None:
    """Write weights (float16: half the size, computed with in float32), tokenizer and provenance."""
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, END),
        pad_token_id=token_id(tokenizer, PAD),
    )
    model.half().save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # safetensors writes for the owner only; package data is for everyone
    model.float()
    tokenizer.save_pretrained(out)
    weights = (out / "model.safetensors").read_bytes()
    provenance = {
        "command": command,
        "settings": asdict(settings),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": at.step,
        "tokens_seen": at.tokens_seen,
        "seconds": round(at.seconds, 1),
        "threads": torch.get_num_threads(),
        "final_loss": at.losses[-1] if at.losses else None,
        "losses": [round(loss, 4) for loss in at.losses],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    (out / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
