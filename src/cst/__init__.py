"""Configurable Safety Tuning: one chat model, several safety configurations, chosen by the system prompt.

The method in seven calls:

    prompts = cst.read_prompts("prompts.jsonl")
    made = cst.synthesize(prompts, chat, settings)
    preferences = cst.condition(made.pairs, configurations)
    result = cst.train(preferences, loaded=loaded, settings=cst.TrainingSettings(), folder=folder)
    completions = cst.generate(held_out, configurations, chat)
    verdicts = cst.judge(completions, judge)
    scores = cst.score(completions, verdicts, configurations)

`cst.fine_tune(demonstrations, ...)` in place of `condition` and `train` is supervised tuning, and
`cst.render_report(folder)` makes a run folder's report. Names are imported when they are first used, so `import cst` is
quick and doesn't import torch. It sets `OMP_WAIT_POLICY=passive` in the environment, unless the environment says how
OpenMP's threads should wait (docs/processes.md).
"""

import importlib
import os
from typing import TYPE_CHECKING

from cst.distribution import __version__ as __version__

if TYPE_CHECKING:
    from cst.annexes.safety_tuned_llamas.answering import AnsweringSettings, generate_answers
    from cst.chat.budget import Budget
    from cst.chat.endpoint import Endpoint
    from cst.chat.journal import Journal
    from cst.chat.journalled import Journalled
    from cst.chat.local import LocalChat
    from cst.chat.moderation import ModerationEndpoint
    from cst.errors import CstError
    from cst.evaluation.generation import generate
    from cst.evaluation.scores import score
    from cst.judges import judge
    from cst.judges.chat import ChatJudge
    from cst.judges.guard import GuardJudge
    from cst.judges.harm import ClassifierJudge, ModerationJudge
    from cst.judges.plain import CallableJudge, Panel, RefusalPhrases
    from cst.judges.rubric import read_rubric, shipped_rubric
    from cst.models.loading import load_classifier, load_model
    from cst.preferences.conditioning import condition
    from cst.preferences.sources import read_demonstrations, read_preferences, read_prompts
    from cst.recipe import Recipe
    from cst.recipe.data import MixtureSettings
    from cst.recipe.judges import ClassifierSettings, ModerationSettings
    from cst.recipe.models import EndpointSettings
    from cst.recipe.reading import load_recipe
    from cst.recipe.synthesis import ContrastSettings, SelfCritiqueSettings, SynthesisSettings
    from cst.recipe.training import TrainingSettings
    from cst.records import (
        Completion,
        Demonstration,
        Message,
        Preference,
        Prompt,
        ResponsePair,
        SafetyConfiguration,
        Sampling,
        Score,
        Side,
        SidePerTopic,
        Verdict,
    )
    from cst.reporting.report import render_report
    from cst.runs.pipeline import run
    from cst.synthesis.critique import synthesize
    from cst.training.objectives import fine_tune, train

_HOMES = {
    "AnsweringSettings": "cst.annexes.safety_tuned_llamas.answering",
    "Budget": "cst.budget",
    "CallableJudge": "cst.judges.plain",
    "ChatJudge": "cst.judges.chat",
    "ClassifierJudge": "cst.judges.harm",
    "ClassifierSettings": "cst.recipe.judges",
    "Completion": "cst.records",
    "ContrastSettings": "cst.recipe.synthesis",
    "CstError": "cst.errors",
    "Demonstration": "cst.records",
    "Endpoint": "cst.chat.endpoint",
    "EndpointSettings": "cst.recipe.models",
    "GuardJudge": "cst.judges.guard",
    "Journal": "cst.journal",
    "Journalled": "cst.chat.journalled",
    "LocalChat": "cst.chat.local",
    "Message": "cst.records",
    "MixtureSettings": "cst.recipe.data",
    "ModerationEndpoint": "cst.chat.moderation",
    "ModerationJudge": "cst.judges.harm",
    "ModerationSettings": "cst.recipe.judges",
    "Panel": "cst.judges.plain",
    "Preference": "cst.records",
    "Prompt": "cst.records",
    "Recipe": "cst.recipe",
    "RefusalPhrases": "cst.judges.plain",
    "ResponsePair": "cst.records",
    "SafetyConfiguration": "cst.records",
    "Sampling": "cst.records",
    "Score": "cst.records",
    "SelfCritiqueSettings": "cst.recipe.synthesis",
    "Side": "cst.records",
    "SidePerTopic": "cst.records",
    "SynthesisSettings": "cst.recipe.synthesis",
    "TrainingSettings": "cst.recipe.training",
    "Verdict": "cst.records",
    "condition": "cst.preferences.conditioning",
    "fine_tune": "cst.training.objectives",
    "generate": "cst.evaluation.generation",
    "generate_answers": "cst.annexes.safety_tuned_llamas.answering",
    "judge": "cst.judges",
    "load_classifier": "cst.models.loading",
    "load_model": "cst.models.loading",
    "load_recipe": "cst.recipe.reading",
    "read_demonstrations": "cst.preferences.sources",
    "read_preferences": "cst.preferences.sources",
    "read_prompts": "cst.preferences.sources",
    "read_rubric": "cst.judges.rubric",
    "render_report": "cst.reporting.report",
    "run": "cst.runs.pipeline",
    "score": "cst.evaluation.scores",
    "shipped_rubric": "cst.judges.rubric",
    "synthesize": "cst.synthesis.critique",
    "train": "cst.training.objectives",
}
"""Where each public name lives (PEP 562)."""

# The OpenMP runtime reads this once, when torch is loaded. By default its threads wait for one another in a busy loop:
# when another process has one of the cores, a thread loops for milliseconds while the one it waits for can't run.
if "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__all__ = [
    "AnsweringSettings",
    "Budget",
    "CallableJudge",
    "ChatJudge",
    "ClassifierJudge",
    "ClassifierSettings",
    "Completion",
    "ContrastSettings",
    "CstError",
    "Demonstration",
    "Endpoint",
    "EndpointSettings",
    "GuardJudge",
    "Journal",
    "Journalled",
    "LocalChat",
    "Message",
    "MixtureSettings",
    "ModerationEndpoint",
    "ModerationJudge",
    "ModerationSettings",
    "Panel",
    "Preference",
    "Prompt",
    "Recipe",
    "RefusalPhrases",
    "ResponsePair",
    "SafetyConfiguration",
    "Sampling",
    "Score",
    "SelfCritiqueSettings",
    "Side",
    "SidePerTopic",
    "SynthesisSettings",
    "TrainingSettings",
    "Verdict",
    "condition",
    "fine_tune",
    "generate",
    "generate_answers",
    "judge",
    "load_classifier",
    "load_model",
    "load_recipe",
    "read_demonstrations",
    "read_preferences",
    "read_prompts",
    "read_rubric",
    "render_report",
    "run",
    "score",
    "shipped_rubric",
    "synthesize",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'cst' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
