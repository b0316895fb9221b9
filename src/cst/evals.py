"""The evaluators of Safety-Tuned LLaMAs (Bianchi et al., ICLR 2024) under the names of its README.

from cst.evals import AbsoluteHarmfulnessPredictor, ContentModeration, ConversationBuilder
"""

from cst.annexes.safety_tuned_llamas import (
    AbsoluteHarmfulnessPredictor,
    ContentModeration,
    ConversationBuilder,
)

__all__ = ["AbsoluteHarmfulnessPredictor", "ContentModeration", "ConversationBuilder"]
