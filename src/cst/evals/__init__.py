"""The evaluators of Safety-Tuned LLaMAs under the names of its README, over the judges of the evaluation room.

    from cst.evals import AbsoluteHarmfulnessPredictor, ContentModeration, ConversationBuilder

Signatures and results are those of `evals/` in vinid/safety-tuned-llamas (Bianchi et al., ICLR 2024); what is ours
alone comes by keyword. docs/safety-tuned-llamas.md tells where they differ. Importing them loads no torch.
"""

from cst.evals.content_moderation import ContentModeration
from cst.evals.conversations import ConversationBuilder
from cst.evals.harmfulness import AbsoluteHarmfulnessPredictor

__all__ = ["AbsoluteHarmfulnessPredictor", "ContentModeration", "ConversationBuilder"]
