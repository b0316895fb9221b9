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

import ast
import importlib
import inspect
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the one list of public names: type checkers read it, and so does `_homes`
    from cst.annexes.safety_tuned_llamas.answering import AnsweringSettings as AnsweringSettings
    from cst.annexes.safety_tuned_llamas.answering import generate_answers as generate_answers
    from cst.chat.budget import Budget as Budget
    from cst.chat.endpoint import Endpoint as Endpoint
    from cst.chat.journal import Journal as Journal
    from cst.chat.journalled import Journalled as Journalled
    from cst.chat.local import LocalChat as LocalChat
    from cst.chat.moderation import ModerationEndpoint as ModerationEndpoint
    from cst.doors import run as run
    from cst.errors import CstError as CstError
    from cst.evaluation.generation import generate as generate
    from cst.evaluation.scores import score as score
    from cst.judges import judge as judge
    from cst.judges.chat import ChatJudge as ChatJudge
    from cst.judges.guard import GuardJudge as GuardJudge
    from cst.judges.harm import ClassifierJudge as ClassifierJudge
    from cst.judges.harm import ModerationJudge as ModerationJudge
    from cst.judges.plain import CallableJudge as CallableJudge
    from cst.judges.plain import Panel as Panel
    from cst.judges.plain import RefusalPhrases as RefusalPhrases
    from cst.judges.rubric import read_rubric as read_rubric
    from cst.judges.rubric import shipped_rubric as shipped_rubric
    from cst.models.loading import load_classifier as load_classifier
    from cst.models.loading import load_model as load_model
    from cst.preferences.conditioning import condition as condition
    from cst.preferences.sources import read_demonstrations as read_demonstrations
    from cst.preferences.sources import read_preferences as read_preferences
    from cst.preferences.sources import read_prompts as read_prompts
    from cst.recipe import Recipe as Recipe
    from cst.recipe.data import MixtureSettings as MixtureSettings
    from cst.recipe.judges import ClassifierSettings as ClassifierSettings
    from cst.recipe.judges import ModerationSettings as ModerationSettings
    from cst.recipe.models import EndpointSettings as EndpointSettings
    from cst.recipe.reading import load_recipe as load_recipe
    from cst.recipe.synthesis import ContrastSettings as ContrastSettings
    from cst.recipe.synthesis import SelfCritiqueSettings as SelfCritiqueSettings
    from cst.recipe.synthesis import SynthesisSettings as SynthesisSettings
    from cst.recipe.training import TrainingSettings as TrainingSettings
    from cst.records import Completion as Completion
    from cst.records import Demonstration as Demonstration
    from cst.records import Message as Message
    from cst.records import Preference as Preference
    from cst.records import Prompt as Prompt
    from cst.records import ResponsePair as ResponsePair
    from cst.records import SafetyConfiguration as SafetyConfiguration
    from cst.records import Sampling as Sampling
    from cst.records import Score as Score
    from cst.records import Side as Side
    from cst.records import SidePerTopic as SidePerTopic
    from cst.records import Verdict as Verdict
    from cst.reporting.report import render_report as render_report
    from cst.reporting.sections import Section as Section
    from cst.reporting.tables import Table as Table
    from cst.synthesis.critique import synthesize as synthesize
    from cst.training.objectives import fine_tune as fine_tune
    from cst.training.objectives import train as train

__version__ = "0.1.0"

# The OpenMP runtime reads this once, when torch is loaded. By default its threads wait for one another in a busy loop:
# when another process has one of the cores, a thread loops for milliseconds while the one it waits for can't run.
if "GOMP_SPINCOUNT" not in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _homes() -> dict[str, str]:
    """Where each public name lives: this file's own imports under TYPE_CHECKING."""
    (block,) = (
        node
        for node in ast.parse(inspect.getsource(sys.modules[__name__])).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }


_HOMES = _homes()
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] - names come from the block above


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562), so that `import cst` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cst' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
