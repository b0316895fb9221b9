"""Which models can be packed: those that give in a small pack the logits that they give a sequence at a time.

A model is asked, not looked up in a list: whatever mixes tokens outside of attention (a recurrent layer, a
convolution), counts positions in its own way or treats its logits specially gives other numbers.
"""

from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from cst.errors import TrainingError
from cst.models.quantization import is_exact
from cst.models.rendering import TokenSequence
from cst.training.packed import hidden_states, language_model
from cst.training.packs import plan_packs
from cst.training.response_head import LogitRule
from cst.training.tree_attention import attending_in_trees

TOLERANCE, TOLERANCE_16_BIT = 1e-3, 0.1
"""Largest root mean square difference of logits, as a share of their spread, in full precision and in less.

On the families of tests/training/test_packable.py rounding gives less than 3e-7 and 1e-2, a wrong position over 0.3."""


def why_not_packed(model: nn.Module) -> str | None:
    """Why `model`, which must be in evaluation mode, can't be packed; None where it can. Costs two short passes."""
    base = language_model(model)
    reason = _unsuited(model, base)
    if reason is not None:
        return reason
    try:
        difference = logit_difference(base)
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
def logit_difference(model: PreTrainedModel) -> float:
    """How far logits in a pack are from those of its two sequences alone, as a share of the spread of the latter."""
    vocabulary = cast(Tensor, model.get_input_embeddings().weight).shape[0]
    prompt, responses = range(12), (range(12, 18), range(24, 30))
    sequences = [TokenSequence(tuple(t % vocabulary for t in (*prompt, *response)), 12) for response in responses]
    (pack,) = plan_packs(sequences, 64)
    with attending_in_trees(model):
        hidden = hidden_states(model, pack)[torch.tensor(pack.predictors)]
        packed = LogitRule.of(model.config).apply(cast(nn.Module, model.get_output_embeddings())(hidden)).double()
    alone = [cast(Any, model)(input_ids=torch.tensor([s.tokens[:-1]], device=model.device)).logits for s in sequences]
    expected = torch.cat([logits[0, 11:] for logits in alone]).double()
    spread = (expected - expected.mean(-1, keepdim=True)).square().mean()
    return float(((packed - expected).square().mean() / spread).sqrt())
