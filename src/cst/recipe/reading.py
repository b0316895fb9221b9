"""Reading recipes: YAML 1.2 text, with overrides, to a `Recipe`.

PyYAML reads `5e-6` as text, `no` as false, and keeps the last of two equal keys; so this is ruamel.yaml, version 1.2,
with duplicate keys refused. An unknown key is refused with the nearest right one named.
"""

import difflib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from cst.errors import DataError, RecipeError
from cst.recipe import Recipe
from cst.store import complaint_of, read_text

UNION_TAGS = (
    *("miniature", "file", "self_critique", "contrast", "endpoint", "local", "refusal_phrases"),
    *("chat", "classifier", "guard", "moderation", "panel"),
)
"""The values of `kind` by which pydantic names a union's branches."""


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; each override is `section.key=value`, its value read as YAML, checked by the same schema.

    Relative paths in the recipe are meant from the recipe's folder, those of overrides from where the command is given.

    Raises:
        RecipeError: The file is missing, isn't YAML 1.2, or doesn't fit the schema.
    """
    if not path.exists():
        raise RecipeError(
            f"There is no recipe file {path}. Check the path, or name one that ships with cst, such as `miniature`."
        )
    try:
        text = read_text(path)
    except DataError as error:
        raise RecipeError(f"The recipe can't be read: {error}") from error
    return parse_recipe(text, overrides, where=str(path), folder=path.parent)


def parse_recipe(text: str, overrides: Sequence[str] = (), *, where: str, folder: Path = Path()) -> Recipe:
    """A recipe from its YAML text; `where` stands in errors, `folder` is where relative paths start."""
    values = _read_yaml(text, where)
    if not isinstance(values, dict):
        raise RecipeError(f"{where} holds {type(values).__name__}, and a mapping of sections is needed.")
    recipe = _from_folder(_validated(cast(dict[str, Any], values), where), folder)
    if not overrides:
        return recipe
    tree = _without_derived(recipe.model_dump(mode="json"), recipe)
    for override in overrides:
        _override(tree, override)
    return _validated(tree, f"{where} with {' '.join(f'--set {override}' for override in overrides)}")


def _validated(tree: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_complaint(error)}") from error


def _without_derived(tree: dict[str, Any], record: BaseModel) -> dict[str, Any]:
    """A record's values without those that nobody wrote and that follow from others, which may be overridden."""
    kept = dict(tree)
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if isinstance(value, BaseModel):
            kept[name] = _without_derived(kept[name], value)
        elif field.default_factory_takes_validated_data and name not in record.model_fields_set:
            del kept[name]
    return kept


def _read_yaml(text: str, where: str) -> object:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    yaml.allow_duplicate_keys = False
    try:
        return yaml.load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = str(error.problem).split(" with value")[0]
        raise RecipeError(f"{where}{line} is not YAML 1.2: {problem}. Correct the line.") from error
    except YAMLError as error:
        problem = " ".join(str(error).split())
        raise RecipeError(f"{where} is not YAML 1.2: {problem}. Take the character out.") from error


def _override(tree: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys = dotted.split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set {override!r} can't be read; write section.key=value, such as training.beta=0.2.")
    node = tree
    for depth, key in enumerate(keys[:-1], start=1):
        inner = node[key] = {} if node.get(key) is None else node[key]
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {override!r}: {'.'.join(keys[:depth])} has no keys of its own in this recipe.")
        node = cast(dict[str, Any], inner)
    node[keys[-1]] = _read_yaml(text, f"--set {override}")


def _complaint(error: ValidationError) -> str:
    """The most telling complaint: a misspelt key first, then what isn't the fault of a union's branch."""
    details = sorted(
        error.errors(),
        key=lambda detail: (
            detail["type"] != "extra_forbidden",
            any("literal[" in str(part) for part in detail["loc"]),
        ),
    )
    detail = details[0]
    location = _keys(detail)
    key = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known keys here: {', '.join(sorted(known))}."
        return f"unknown key {key!r}. {hint}"
    if detail["type"] == "missing":
        return f"key {key!r} is missing. Add it; docs/recipes.md says what it means."
    if detail["type"] == "union_tag_invalid":
        seen = detail.get("ctx", {})
        return f"{key}.kind={seen.get('tag')!r}: Input should be one of {seen.get('expected_tags')}."
    if detail["type"] == "union_tag_not_found":
        return f"key '{key}.kind' is missing. Add it; docs/recipes.md says what it means."
    alternatives = [other["msg"] for other in details if other is not detail and _keys(other) == location]
    return complaint_of({**detail, "msg": "; or: ".join([detail["msg"], *alternatives])}, key)


def _keys(detail: ErrorDetails) -> list[int | str]:
    """Where a complaint belongs, in the words of the recipe: without pydantic's names of a union's branches."""
    parts = detail["loc"]
    return [
        part
        for before, part in zip(("", *parts), parts, strict=False)
        if before == "chat_models" or not _is_union_tag(part)  # a chat model may be called `local`
    ]


def _is_union_tag(part: object) -> bool:
    return isinstance(part, str) and (part in UNION_TAGS or "[" in part)


def _keys_at(location: Iterable[object]) -> list[str]:
    """The keys that the schema knows at a place; all `kind`s of a union together."""
    kinds: list[type[BaseModel]] = [Recipe]
    is_name = False  # of a mapping whose keys are the user's own
    for part in location:
        if isinstance(part, int) or is_name:
            is_name = False
            continue
        annotations = [kind.model_fields[str(part)].annotation for kind in kinds if str(part) in kind.model_fields]
        is_name = any(get_origin(annotation) is dict for annotation in annotations)
        kinds = [inner for annotation in annotations for inner in record_types(annotation)]
    return [name for kind in kinds for name in kind.model_fields]


def record_types(annotation: object) -> list[type[BaseModel]]:
    """The record classes that an annotation speaks of, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in record_types(part)]


def _from_folder(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with the paths of its files taken from the recipe's own folder."""

    def moved(value: object) -> object:
        if isinstance(value, Path):
            return value if value.is_absolute() or str(value).startswith("hub:") else folder / value
        if isinstance(value, Mapping):
            return {key: moved(inner) for key, inner in cast(Mapping[str, object], value).items()}
        if isinstance(value, tuple | list):
            return [moved(inner) for inner in cast(Sequence[object], value)]
        return value

    return Recipe.model_validate(moved(recipe.model_dump(exclude_unset=True)))
