"""Log-probs of responses in packs: the values and gradients of `logps.response_logps`, for the work of unique tokens.

This file joins the plan, the attention and the head on an unmodified Hugging Face model, and says which models can be
packed. It knows no loss.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from cst.models.rendering import TokenSequence
from cst.training.logps import ResponseLogps
from cst.training.packs import Pack, plan_packs
from cst.training.response_head import LogitRule, label_logps
from cst.training.tree_attention import attending_in_trees
from cst.training.tree_plan import TreePlan

TOKEN_BUDGET = 3072
"""Unique tokens a pack may have where nobody sets it: larger packs share system prompts among more rows, and take more
memory. On a CPU, with policies of 300 tokens, steps are 1.12 times as fast as with 2,048, and 4,096 gain no more (a
Llama of width 384 and 8 layers, vocabulary of 32,000, bfloat16, 2 threads, medians of five)."""


def packed_response_logps(
    model: nn.Module, sequences: Sequence[TokenSequence], *, token_budget: int = TOKEN_BUDGET
) -> ResponseLogps:
    """Log-probs of each sequence's response given its prompt, in the order of `sequences`.

    Sequences that begin alike share the tokens they begin with; at most `token_budget` unique tokens are computed at
    once. Gradients flow if they are enabled. With gradient checkpointing, `attending_in_trees` must be open here and in
    the backward pass.

    Raises:
        TrainingError: A response is empty or has nothing before it, or the model can't be packed (see `packable`).
    """
    base = language_model(model)
    device = next(base.parameters()).device
    packs = plan_packs(sequences, token_budget)
    with attending_in_trees(base):
        logps = torch.cat([pack_logps(base, pack) for pack in packs])
    back = torch.tensor([row for pack in packs for row in pack.rows], device=device).argsort()
    lengths = [len(sequence.tokens) - sequence.response_start for sequence in sequences]
    return ResponseLogps(logps[back], torch.tensor(lengths, dtype=torch.float64, device=device))


def pack_logps(model: PreTrainedModel, pack: Pack) -> Tensor:
    """Log-probs of a pack's rows, in nats: [R] float64. The model must be attending in trees."""
    device = next(model.parameters()).device
    owners = torch.tensor(pack.owners, device=device)
    labels = torch.tensor(pack.labels, device=device)
    head = cast(nn.Module, model.get_output_embeddings())
    predicting = hidden_states(model, pack)[torch.tensor(pack.predictors, device=device)]
    logps = label_logps(predicting, labels, head, LogitRule.of(model.config))
    sums = torch.zeros(len(pack.rows), dtype=torch.float64, device=device)
    return sums.index_add(0, owners, logps.to(torch.float64))


def hidden_states(model: PreTrainedModel, pack: Pack) -> Tensor:
    """What the head reads, of each token of a pack: [T, H]. The model must be attending in trees."""
    device = next(model.parameters()).device
    output = cast(Any, model.base_model)(
        input_ids=torch.tensor([pack.tokens], device=device),
        position_ids=torch.tensor([pack.positions], device=device),
        use_cache=False,
        tree=TreePlan.of(pack.nodes, device),
    )
    return cast(Tensor, output.last_hidden_state)[0]


def language_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model itself: adapters live in its layers, their wrapper adds nothing."""
    return cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
