"""Log-probs of responses under a model: the one place where tensors of vocabulary size exist.

Log-probs of tokens are float32 (float64 if the model is), their sums are float64: with float32 sums the gradient was
1.3e-4 off a float64 oracle, with float64 sums 2.4e-6. This file knows neither policy nor reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cst.models.rendering import TokenSequence
from cst.training.batches import IGNORED, PaddedBatch, pad


@dataclass(frozen=True)
class ResponseLogps:
    """`logps` [N] float64: nats, summed over a response and its end token. `lengths` [N] float64: those tokens."""

    logps: Tensor
    lengths: Tensor


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


def chunks_of_like_length(sequences: Sequence[TokenSequence], batch_size: int) -> list[list[int]]:
    """The numbers of the sequences that share a forward pass, from the shortest to the longest."""
    order = sorted(range(len(sequences)), key=lambda index: (len(sequences[index].tokens), index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded_logps(model: nn.Module, batch: PaddedBatch) -> Tensor:
    """Log-probs of the responses of one batch, in nats: [B] float64.

    The logits at t - 1 speak of the token at t. Only the logits from just before the earliest response on are built
    (`logits_to_keep`), which leaves out the prompts.
    """
    device = next(model.parameters()).device
    kept = batch.labels.shape[1] - _first_label(batch.labels) + 1
    logits: Tensor = model(
        input_ids=batch.input_ids.to(device),
        attention_mask=batch.attention_mask.to(device),
        use_cache=False,
        logits_to_keep=kept,
    ).logits
    labels = batch.labels[:, 1 - kept :].to(device)
    logps = token_logps(logits[:, :-1], labels)
    return logps.to(torch.float64).sum(dim=1)


def _first_label(labels: Tensor) -> int:
    return int((labels != IGNORED).any(dim=0).nonzero()[0])


def token_logps(logits: Tensor, labels: Tensor) -> Tensor:
    """The log softmax of a label, in nats; 0 where it is IGNORED. Logits [B, T, V], labels [B, T] -> [B, T].

    Computed in float32, or in float64 where the logits are.
    """
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = functional.cross_entropy(exact.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return -losses.view_as(labels)
