"""Log-probs of whole responses under a loaded model, a few at a time: for what is scored and not trained.

It knows neither messages nor what a response is about.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cst.models.loading import LoadedModel
from cst.models.rendering import TokenSequence


def response_logps(loaded: LoadedModel, batch: Sequence[TokenSequence]) -> list[float]:
    """Summed log-prob of each response in nats, end token included where the sequence has it.

    One forward pass over right-padded rows `[B, T]`; log-softmax in float32, sums in float64.
    """
    device = loaded.model.device
    width = max(len(sequence.tokens) for sequence in batch)
    pad = loaded.renderer.pad_token_id
    tokens = torch.tensor([[*s.tokens, *[pad] * (width - len(s.tokens))] for s in batch], device=device)
    mask = torch.tensor([[1] * len(s.tokens) + [0] * (width - len(s.tokens)) for s in batch], device=device)
    with torch.inference_mode():
        logits = loaded.model(input_ids=tokens, attention_mask=mask).logits
        return [_row_logp(logits[row], tokens[row], sequence) for row, sequence in enumerate(batch)]


def _row_logp(logits: Tensor, tokens: Tensor, sequence: TokenSequence) -> float:
    """Log-prob of tokens `response_start..end` from logits `[T, V]`: position t - 1 speaks of token t."""
    start, end = sequence.response_start, len(sequence.tokens)
    logps = logits[start - 1 : end - 1].float().log_softmax(dim=-1)
    return float(logps.gather(1, tokens[start:end, None]).double().sum())
