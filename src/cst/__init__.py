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

if TYPE_CHECKING:
    from cst.answering import generate_answers
    from cst.answering_settings import AnsweringSettings
    from cst.budget import Budget
    from cst.chat.endpoint import Endpoint
    from cst.chat.journalled import Journalled
    from cst.chat.local import LocalChat
    from cst.chat.moderation import ModerationEndpoint
    from cst.errors import CstError
    from cst.evaluation.generation import generate
    from cst.evaluation.judges.base import judge
    from cst.evaluation.judges.chat import ChatJudge
    from cst.evaluation.judges.classifier import ClassifierJudge
    from cst.evaluation.judges.guard import GuardJudge
    from cst.evaluation.judges.moderation import ModerationJudge
    from cst.evaluation.judges.panel import Panel
    from cst.evaluation.judges.plain import CallableJudge, RefusalPhrases
    from cst.evaluation.judges.rubric import read_rubric, shipped_rubric
    from cst.evaluation.report import render_report
    from cst.evaluation.scores import score
    from cst.journal import Journal
    from cst.models.loading import load_classifier, load_model
    from cst.pipeline import run
    from cst.preferences.conditioning import condition
    from cst.preferences.sources import read_demonstrations, read_preferences, read_prompts
    from cst.recipe import (
        ContrastSettings,
        Recipe,
        SelfCritiqueSettings,
        SynthesisSettings,
        TrainingSettings,
    )
    from cst.recipe_file import load_recipe
    from cst.recipe_harm_judges import ClassifierSettings, ModerationSettings
    from cst.recipe_mixture import MixtureSettings
    from cst.recipe_models import EndpointSettings
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
    from cst.synthesis.critique import synthesize
    from cst.training.loop import train
    from cst.training.supervised import fine_tune

_HOMES = {
    "AnsweringSettings": "cst.answering_settings",
    "Budget": "cst.budget",
    "CallableJudge": "cst.evaluation.judges.plain",
    "ChatJudge": "cst.evaluation.judges.chat",
    "ClassifierJudge": "cst.evaluation.judges.classifier",
    "ClassifierSettings": "cst.recipe_harm_judges",
    "Completion": "cst.records",
    "ContrastSettings": "cst.recipe",
    "CstError": "cst.errors",
    "Demonstration": "cst.records",
    "Endpoint": "cst.chat.endpoint",
    "EndpointSettings": "cst.recipe_models",
    "GuardJudge": "cst.evaluation.judges.guard",
    "Journal": "cst.journal",
    "Journalled": "cst.chat.journalled",
    "LocalChat": "cst.chat.local",
    "Message": "cst.records",
    "MixtureSettings": "cst.recipe_mixture",
    "ModerationEndpoint": "cst.chat.moderation",
    "ModerationJudge": "cst.evaluation.judges.moderation",
    "ModerationSettings": "cst.recipe_harm_judges",
    "Panel": "cst.evaluation.judges.panel",
    "Preference": "cst.records",
    "Prompt": "cst.records",
    "Recipe": "cst.recipe",
    "RefusalPhrases": "cst.evaluation.judges.plain",
    "ResponsePair": "cst.records",
    "SafetyConfiguration": "cst.records",
    "Sampling": "cst.records",
    "Score": "cst.records",
    "SelfCritiqueSettings": "cst.recipe",
    "Side": "cst.records",
    "SidePerTopic": "cst.records",
    "SynthesisSettings": "cst.recipe",
    "TrainingSettings": "cst.recipe",
    "Verdict": "cst.records",
    "condition": "cst.preferences.conditioning",
    "fine_tune": "cst.training.supervised",
    "generate": "cst.evaluation.generation",
    "generate_answers": "cst.answering",
    "judge": "cst.evaluation.judges.base",
    "load_classifier": "cst.models.loading",
    "load_model": "cst.models.loading",
    "load_recipe": "cst.recipe_file",
    "read_demonstrations": "cst.preferences.sources",
    "read_preferences": "cst.preferences.sources",
    "read_prompts": "cst.preferences.sources",
    "read_rubric": "cst.evaluation.judges.rubric",
    "render_report": "cst.evaluation.report",
    "run": "cst.pipeline",
    "score": "cst.evaluation.scores",
    "shipped_rubric": "cst.evaluation.judges.rubric",
    "synthesize": "cst.synthesis.critique",
    "train": "cst.training.loop",
}
"""Where each public name lives (PEP 562)."""

__version__ = "0.1.0"

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
