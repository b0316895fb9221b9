"""The embedded miniature: a fictional town and a small chat model that was pretrained on it.

`model_path()` is an ordinary Hugging Face folder, and `WORLD` is all that a recipe may ask of the town. How the model
was made is in the repository's folder `miniature_making`. This package imports nothing heavy.
"""

from pathlib import Path
from typing import Final, final

from cst.miniature import prompts
from cst.miniature.judge import exact_judge
from cst.recipe.world import World


def model_path() -> Path:
    """The folder of the start model: config, tokenizer, chat template, weights, model card, provenance."""
    return Path(__file__).parent / "model"


def model_folder(path: str) -> str:
    """A model's folder or hub id; the word `miniature` names the one that ships with cst."""
    return str(model_path()) if path == "miniature" else path


RECIPES = {"miniature": "recipe.yaml", "sweep": "recipe_sweep.yaml"}
"""Files of the embedded recipes, by their names on the command line: the demo's, and the sweep's."""


def recipe_path(name: str = "miniature") -> Path:
    """An embedded recipe: a key of `RECIPES`."""
    return Path(__file__).parent / RECIPES[name]


@final
class Emberwick:
    """The town as a recipe's world."""

    model_path = staticmethod(model_path)
    configurations = staticmethod(prompts.configurations)
    training_prompts = staticmethod(prompts.training_prompts)
    evaluation_prompts = staticmethod(prompts.evaluation_prompts)
    instruction_demonstrations = staticmethod(prompts.instruction_demonstrations)
    safety_demonstrations = staticmethod(prompts.safety_demonstrations)
    capability_items = staticmethod(prompts.capability_items)
    judge = staticmethod(exact_judge)


WORLD: Final[World] = Emberwick()
