"""How cards are written: the Hub's YAML header, and the page from its template. This file knows no run."""

import io
import re
from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

SIZES = (
    *((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")),
    *((10**8, "10M<n<100M"), (10**9, "100M<n<1B")),
)
"""The Hub's names for numbers of rows below these."""


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows."""
    return next((name for size, name in SIZES if rows < size), "other")


def header(values: Mapping[str, object]) -> str:
    """The YAML header, without the keys that have no value."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump({name: value for name, value in values.items() if value is not None}, text)
    return f"---\n{text.getvalue()}---\n"


def render(template: str, **known: object) -> str:
    """A card from its template, of which every name must be known."""
    loader = PackageLoader("cst.hub_cards", "templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=False, trim_blocks=False)
    text = environment.get_template(template).render(**known)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
