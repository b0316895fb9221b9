"""The embedded miniature: a fictional town and a small chat model that was pretrained on it.

`model_path()` is an ordinary Hugging Face folder. This file imports nothing heavy; `pretraining` and `tokenizer` are
the only modules of the package that do.
"""

from pathlib import Path


def model_path() -> Path:
    """The folder of the start model: config, tokenizer, chat template, weights, model card, provenance."""
    return Path(__file__).parent / "model"


RECIPES = {"miniature": "recipe.yaml", "sweep": "recipe_sweep.yaml"}
"""Files of the embedded recipes, by their names on the command line: the demo's, and the sweep's."""


def recipe_path(name: str = "miniature") -> Path:
    """An embedded recipe: a key of `RECIPES`."""
    return Path(__file__).parent / RECIPES[name]
