"""Log-probs of responses in a pack: the values and gradients of `logps.response_logps`, for the work of unique tokens.

This file joins the plan, the attention and the head on an unmodified Hugging Face model, and finds out which models can
be packed: those that give in a small pack the logits that they give a sequence at a time. A model is asked, not looked
up in a list: whatever mixes tokens outside of attention (a recurrent layer, a convolution), counts positions in its own
way or treats its logits specially gives other numbers. This file knows no loss.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from cst.errors import TrainingError
from cst.models.loading import is_exact
from cst.models.logps import ResponseLogps
from cst.models.rendering import TokenSequence
from cst.training.packing.attention import TreePlan, attending_in_trees
from cst.training.packing.packs import Pack, pack_of
from cst.training.packing.response_head import LogitRule, label_logps

TOKEN_BUDGET = 2560
"""Unique tokens a pack may have where nobody sets it: larger packs share system prompts among more rows, and take more
memory. A step on eight rows takes .73 GB at most with 2,560 and .90 GB with 3,072, and the same CPU time (a Llama of
width 384 and 8 layers, vocabulary of 32,000, float32 weights under bfloat16 autocast, 2 threads)."""

TOLERANCE, TOLERANCE_16_BIT = 1e-3, 0.1
"""Largest root mean square difference of logits, as a share of their spread, in full precision and in less.

On the families of tests/training/packing/test_logps.py rounding gives less than 3e-7 and 1e-2, a wrong position over
0.3."""


def packed_response_logps(model: nn.Module, sequences: Sequence[TokenSequence]) -> ResponseLogps:
    """Log-probs of each sequence's response given its prompt, in the order of `sequences`, from one forward pass.

    Sequences that begin alike share the tokens they begin with. Gradients flow if they are enabled. With gradient
    checkpointing, `attending_in_trees` must be open here and in the backward pass.

    Raises:
        TrainingError: A response is empty or has nothing before it, or the model can't be packed (`why_not_packed`).
    """
    base = language_model(model)
    device = next(base.parameters()).device
    pack = pack_of(sequences)
    labels, owners = (torch.tensor(numbers, device=device) for numbers in (pack.labels, pack.owners))
    with attending_in_trees(base):
        predicting = _hidden_states(base, pack)
    logps = label_logps(predicting, labels, cast(nn.Module, base.get_output_embeddings()), LogitRule.of(base.config))
    sums = torch.zeros(len(sequences), dtype=torch.float64, device=device).index_add(0, owners, logps.to(torch.float64))
    lengths = [len(sequence.tokens) - sequence.response_start for sequence in sequences]
    return ResponseLogps(sums, torch.tensor(lengths, dtype=torch.float64, device=device))


def _hidden_states(model: PreTrainedModel, pack: Pack) -> Tensor:
    """What the head reads to predict each of N labels: [N, H]. The model must be attending in trees."""
    device = next(model.parameters()).device
    output = cast(Any, model.base_model)(
        input_ids=torch.tensor([pack.tokens], device=device),
        position_ids=torch.tensor([pack.positions], device=device),
        use_cache=False,
        tree=TreePlan.of(pack.nodes, device),
    )
    return cast(Tensor, output.last_hidden_state)[0, torch.tensor(pack.predictors, device=device)]


def language_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model itself: adapters live in its layers, their wrapper adds nothing."""
    return cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)


def why_not_packed(model: nn.Module) -> str | None:
    """Why `model`, which must be in evaluation mode, can't be packed; None where it can. Costs two short passes."""
    base = language_model(model)
    reason = _unsuited(model, base)
    if reason is not None:
        return reason
    try:
        difference = _logit_difference(base)
    except (TrainingError, TypeError) as error:  # TypeError: a layer takes no further arguments
        return f"{type(base).__name__} doesn't hand packs to its attention: {error}"
    if not difference <= (TOLERANCE if is_exact(base) else TOLERANCE_16_BIT):
        return f"{type(base).__name__} gives other logits in a pack than alone (they differ by {difference:.2g})"
    return None


def _unsuited(model: nn.Module, base: PreTrainedModel) -> str | None:
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        return "its adapter puts learned tokens before each prompt"
    if not base.is_backend_compatible():
        return f"{type(base).__name__} doesn't take part in transformers' attention interface"
    if base.get_output_embeddings() is None:
        return f"{type(base).__name__} has no language model head"
    configs = {id(part.config) for part in base.modules() if isinstance(part, PreTrainedModel)}
    if len(configs) > 1:
        return f"{type(base).__name__} is more than a language model"
    return None


@torch.no_grad()
def _logit_difference(model: PreTrainedModel) -> float:
    """How far logits in a pack are from those of its two sequences alone, as a share of the spread of the latter."""
    vocabulary = cast(Tensor, model.get_input_embeddings().weight).shape[0]
    prompt, responses = range(12), (range(12, 18), range(24, 30))
    sequences = [TokenSequence(tuple(t % vocabulary for t in (*prompt, *response)), 12) for response in responses]
    with attending_in_trees(model):
        hidden = _hidden_states(model, pack_of(sequences))
        packed = LogitRule.of(model.config).apply(cast(nn.Module, model.get_output_embeddings())(hidden)).double()
    alone = [cast(Any, model)(input_ids=torch.tensor([s.tokens[:-1]], device=model.device)).logits for s in sequences]
    expected = torch.cat([logits[0, 11:] for logits in alone]).double()
    spread = (expected - expected.mean(-1, keepdim=True)).square().mean()
    return float(((packed - expected).square().mean() / spread).sqrt())
