"""Reads recipes: YAML 1.2 text, with overrides, to a `Recipe`.

PyYAML reads `5e-6` as text and `no` as false, and keeps the last of two equal keys. So this file uses ruamel.yaml with
YAML 1.2 and rejects duplicate keys. The error for an unknown key suggests the nearest known one.
"""

import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from cst.errors import DataError, RecipeError
from cst.recipe import Recipe
from cst.store import complaint_of, read_text


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe. Each override is `section.key=value` with a YAML value, and is checked by the same schema.

    Relative paths in the recipe start at the recipe's folder, and those in overrides at the current folder.

    Raises:
        RecipeError: The file is missing, is not YAML 1.2, or does not fit the schema.
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
    """Parse YAML text. Errors name it as `where`; relative paths start at `folder`. Raises as `load_recipe`."""
    values = _read_yaml(text, where)
    if not isinstance(values, dict):
        raise RecipeError(f"{where} holds {type(values).__name__}, but must be a mapping, such as `name: my-run`.")
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
    """Leave out values that were derived from others: an override may change the others."""
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
        raise RecipeError(f"{where} is not YAML 1.2: {problem}. Remove the character.") from error


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
    """The most useful complaint: a misspelt key first, then one outside a union's untagged branches."""
    details = sorted(
        error.errors(),
        key=lambda detail: (
            detail["type"] != "extra_forbidden",
            any("literal[" in str(part) for part in detail["loc"]),
        ),
    )
    detail = details[0]
    location, _ = _place(detail["loc"])
    key = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        _, sections = _place(detail["loc"][:-1])
        known = [name for section in sections for name in section.model_fields]
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known keys here: {', '.join(sorted(known))}."
        return f"unknown key {key!r}. {hint}"
    if detail["type"] == "missing":
        return f"key {key!r} is missing. Add it; docs/recipes.md explains it."
    if detail["type"] == "union_tag_invalid":
        seen = detail.get("ctx", {})
        return f"{key}.kind={seen.get('tag')!r}: Input should be one of {seen.get('expected_tags')}."
    if detail["type"] == "union_tag_not_found":
        return f"key '{key}.kind' is missing. Add it; docs/recipes.md explains it."
    alternatives = [other["msg"] for other in details if other is not detail and _place(other["loc"])[0] == location]
    return complaint_of({**detail, "msg": "; or: ".join([detail["msg"], *alternatives])}, key)


def _place(parts: Sequence[int | str]) -> tuple[list[int | str], list[type[BaseModel]]]:
    """A complaint's place in the recipe's own words, and the sections that the schema allows there.

    pydantic's location also names the branches of unions, by the value of `kind` or by type; these are left out.
    """
    keys: list[int | str] = []
    sections: list[type[BaseModel]] = [Recipe]
    is_name = False  # the user's own key of a mapping: a chat model may be called `local`
    for part in parts:
        if isinstance(part, int) or is_name:
            keys.append(part)
            is_name = False
        elif len(sections) > 1 and (chosen := [section for section in sections if part in _kinds(section)]):
            sections = chosen
        elif sections and "[" not in part and part != sections[0].__name__:  # else the type of an untagged branch
            keys.append(part)
            annotations = [each.model_fields[part].annotation for each in sections if part in each.model_fields]
            is_name = any(get_origin(annotation) is dict for annotation in annotations)
            sections = [inner for annotation in annotations for inner in record_types(annotation)]
    return keys, sections


def _kinds(section: type[BaseModel]) -> tuple[object, ...]:
    """The value of `kind` that a section is chosen by; empty if it has none."""
    annotation = section.model_fields["kind"].annotation if "kind" in section.model_fields else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def record_types(annotation: object) -> list[type[BaseModel]]:
    """The record classes in an annotation, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in record_types(part)]


def _from_folder(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with relative paths resolved from its own folder."""

    def moved(value: object) -> object:
        if isinstance(value, Path):
            return value if value.is_absolute() or str(value).startswith("hub:") else folder / value
        if isinstance(value, Mapping):
            return {key: moved(inner) for key, inner in cast(Mapping[str, object], value).items()}
        if isinstance(value, tuple | list):
            return [moved(inner) for inner in cast(Sequence[object], value)]
        return value

    return Recipe.model_validate(moved(recipe.model_dump(exclude_unset=True)))
