"""The recipe that a run folder keeps: `recipe.json` and `configurations.json`, and that they are of today's recipe."""

from cst.errors import RunFolderError
from cst.integrity import RECIPE, refuse_changed, write_marker
from cst.store import fingerprint, read_json, write_json
from cst.workshop import Workshop


def keep_recipe(workshop: Workshop, *, update: bool) -> None:
    """Write the resolved recipe and its configurations; refuse to mix two recipes in one folder unaware.

    Raises:
        RunFolderError: As for `refuse_another_recipe`, unless `update` is set.
    """
    if not update:
        refuse_another_recipe(workshop)
    folder, recipe, configurations = workshop.folder, workshop.recipe, workshop.configurations
    write_json(folder / "recipe.json", recipe.model_dump(mode="json"))
    if configurations:
        write_json(folder / "configurations.json", list(configurations))
    written = ["recipe.json", *(["configurations.json"] if configurations else [])]
    write_marker(folder, RECIPE, fingerprint(recipe), "made", outputs=written)


def refuse_another_recipe(workshop: Workshop) -> None:
    """Make sure that the folder holds no other recipe's run.

    Raises:
        RunFolderError: It does, or its recipe.json is damaged.
    """
    folder, path = workshop.folder, workshop.folder / "recipe.json"
    refuse_changed(path)
    today = workshop.recipe.model_dump(mode="json")
    before = read_json(path) if path.exists() else today
    if before != today:
        changed = sorted(key for key in {*before, *today} if before.get(key) != today.get(key))
        raise RunFolderError(
            f"{folder} holds a run of another recipe (changed: {', '.join(changed)}). Name another --folder, or pass "
            "--update to make again what the change touches."
        )
