"""Log-probs of responses under a model, in padded batches: the values that packs (`training.packed`) must match.

Log-probs of tokens are float32 (float64 if the model is), their sums are float64: with float32 sums the gradient was
1.3e-4 off a float64 oracle, with float64 sums 2.4e-6. This file knows neither policy nor reference nor question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from cst.models.onednn_linears import multiplying_by_onednn
from cst.models.rendering import TokenSequence

IGNORED = -100
"""Label of a token that carries no log-prob: prompt and padding (the default of torch's cross entropy)."""

CHUNK_ROWS = 1024
"""Positions whose log-softmax over the vocabulary exists at once, in float32."""

Pair: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Tokens of a prompt and of what follows it, each at least one."""


@dataclass(frozen=True)
class PaddedBatch:
    """Sequences of unequal length in one tensor, padded on the right.

    `input_ids` [B, T] int64; `attention_mask` [B, T] int64, 0 on padding; `labels` [B, T] int64, a token's own number
    where it belongs to a response (its end token included) and IGNORED elsewhere.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ResponseLogps:
    """`logps` [N] float64: nats, summed over a response and its end token. `lengths` [N] float64: those tokens."""

    logps: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Continued:
    """Summed log-prob of a continuation in nats, and whether each of its tokens is the most probable one."""

    logp: float
    is_greedy: bool


def response_logps(
    model: nn.Module, sequences: Sequence[TokenSequence], *, pad_token_id: int, batch_size: int
) -> ResponseLogps:
    """Log-probs of each sequence's response given its prompt, in the order of `sequences`.

    Sequences of like length share a forward pass, at most `batch_size` of them: refusals are short and answers long,
    and padding one to the other would be most of the work. Gradients flow if they are enabled.
    """
    device = next(model.parameters()).device
    chunks = chunks_of_like_length(sequences, batch_size)
    logps = torch.cat([padded_logps(model, pad([sequences[i] for i in chunk], pad_token_id)) for chunk in chunks])
    back = torch.tensor([index for chunk in chunks for index in chunk], device=device).argsort()
    lengths = [len(sequence.tokens) - sequence.response_start for sequence in sequences]
    return ResponseLogps(logps[back], torch.tensor(lengths, dtype=torch.float64, device=device))


@torch.inference_mode()
def continuations(model: nn.Module, pairs: Sequence[Pair], *, pad_token_id: int, batch_size: int) -> list[Continued]:
    """In order of the pairs, `batch_size` at once; as the choices of a question do, several may follow one prompt."""
    sequences = [TokenSequence((*prompt, *ending), len(prompt)) for prompt, ending in pairs]
    found: dict[int, Continued] = {}
    with multiplying_by_onednn(model):
        for chunk in chunks_of_like_length(sequences, batch_size):
            found.update(zip(chunk, _continued(model, [sequences[i] for i in chunk], pad_token_id), strict=True))
    return [found[i] for i in range(len(pairs))]


def _continued(model: nn.Module, sequences: Sequence[TokenSequence], pad_token_id: int) -> list[Continued]:
    # A last token is predicted and not read: choices of one letter are all read as their question, once.
    reads = [sequence.tokens[:-1] for sequence in sequences]
    logits, labels = _logits(model, pad(sequences, pad_token_id), [reads.index(read) for read in reads])
    sums = token_logps(logits, labels).to(torch.float64).sum(dim=1)
    greedy = ((logits.argmax(-1) == labels) | (labels == IGNORED)).all(-1)
    return [Continued(logp, is_greedy) for logp, is_greedy in zip(sums.tolist(), greedy.tolist(), strict=True)]


def chunks_of_like_length(sequences: Sequence[TokenSequence], batch_size: int) -> list[list[int]]:
    """The numbers of the sequences that share a forward pass, from the shortest to the longest."""
    order = sorted(range(len(sequences)), key=lambda index: (len(sequences[index].tokens), index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def pad(sequences: Sequence[TokenSequence], pad_token_id: int) -> PaddedBatch:
    """One batch on the CPU. Right padding: positions count from 0 and no token sees padding under a causal mask."""
    shape = (len(sequences), max(len(sequence.tokens) for sequence in sequences))
    input_ids = torch.full(shape, pad_token_id)
    attention_mask = torch.zeros(shape, dtype=torch.int64)
    labels = torch.full(shape, IGNORED)
    for row, sequence in enumerate(sequences):
        tokens = torch.tensor(sequence.tokens)
        end = len(tokens)
        input_ids[row, :end] = tokens
        attention_mask[row, :end] = 1
        labels[row, sequence.response_start : end] = tokens[sequence.response_start :]
    return PaddedBatch(input_ids, attention_mask, labels)


def padded_logps(model: nn.Module, batch: PaddedBatch) -> Tensor:
    """Log-probs of the responses of one batch, in nats: [B] float64."""
    logits, labels = _logits(model, batch)
    return token_logps(logits, labels).to(torch.float64).sum(dim=1)


def token_logps(logits: Tensor, labels: Tensor) -> Tensor:
    """The log softmax of a label, in nats; 0 where it is IGNORED. Logits [B, T, V], labels [B, T] -> [B, T].

    Computed in float32, or in float64 where the logits are, CHUNK_ROWS positions at a time.
    """
    chunks = zip(logits.flatten(0, 1).split(CHUNK_ROWS), labels.flatten().split(CHUNK_ROWS), strict=True)
    return torch.cat([_chunk_logps(*chunk) for chunk in chunks]).view_as(labels)


def _chunk_logps(logits: Tensor, labels: Tensor) -> Tensor:
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -functional.cross_entropy(exact, labels, ignore_index=IGNORED, reduction="none")


def _logits(model: nn.Module, batch: PaddedBatch, owners: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Logits [B, K, V] and the labels [B, K] that they speak of: those at t - 1 speak of the token at t.

    Only the logits from just before the earliest response on are built (`logits_to_keep`), which leaves out the
    prompts. Row r's logits are those of row `owners[r]` where they are given: each owner is read once.
    """
    device = next(model.parameters()).device
    rows = list(range(len(batch.labels)) if owners is None else dict.fromkeys(owners))
    kept = batch.labels.shape[1] - int((batch.labels != IGNORED).any(dim=0).nonzero()[0]) + 1
    logits: Tensor = model(
        input_ids=batch.input_ids[rows].to(device),
        attention_mask=batch.attention_mask[rows].to(device),
        use_cache=False,
        logits_to_keep=kept,
    ).logits[:, -kept:-1]
    if owners is not None and len(rows) < len(owners):
        logits = logits[[rows.index(owner) for owner in owners]]
    return logits, batch.labels[:, 1 - kept :].to(device)
