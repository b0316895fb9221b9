"""The embedded miniature: a fictional town and a small chat model that was pretrained on it.

`model_path()` is an ordinary Hugging Face folder. This file imports nothing heavy; `pretraining` and `tokenizer` are
the only modules of the package that do.
"""

from pathlib import Path


def model_path() -> Path:
    """The folder of the start model: config, tokenizer, chat template, weights, model card, provenance."""
    return Path(__file__).parent / "model"


def recipe_path() -> Path:
    """The recipe of the demo, which goes by the name `miniature` on the command line."""
    return Path(__file__).parent / "recipe.yaml"
