"""The study of the miniature: pretraining seeds, each with its own tuning, against what is to be reached.

    python -m miniature_making.study --docs                     (over an hour; `make study`)
    python -m miniature_making.study --models runs/a runs/b     (measures these models, pretrains none)
    python -m miniature_making.study --from-results --docs      (only the tables, from the saved figures)

Killed at any moment, the same command goes on: pretraining from its checkpoints, runs from their stages, and each
further measurement is a file in the work folder, made again where it is missing or was made of another model. Prints
the tables and saves the figures in benchmarks/results/miniature_study.json; with --docs it also writes the tables to
benchmarks/results/miniature.md.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from cst.commands.console import draw, tell
from cst.distribution import version
from cst.doors import open_workshop, run
from cst.errors import CstError, DataError
from cst.miniature import prompts, recipe_path
from cst.models.folders import folder_fingerprint, model_fingerprint, weight_files
from cst.recipe import Recipe
from cst.recipe.reading import load_recipe
from cst.records import Record, Text
from cst.runs.folder import RunFolder
from cst.store import fingerprint, fingerprint_of_file, parse_record, read_json, read_text, write_json, write_text
from miniature_making.desk import Desk, Place
from miniature_making.pretraining import PretrainingSettings, pretrain
from miniature_making.questions import MEASUREMENTS
from miniature_making.readings import READ
from miniature_making.tables import INTRODUCTION, Figure, Study, markdown, study_tables, summary

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "miniature_study.json"
PAGE = ROOT / "benchmarks" / "results" / "miniature.md"
SEEDS = (5, 6, 7)
"""Of pretraining; the runs on their models are seeded 0, 1 and 2."""
ANSWERS = 360
"""Answers a cell: 300 are to be scored, and of answers drawn at T = 1 up to a tenth were not."""
PACKAGES = ("cst", "torch", "transformers", "tokenizers", "peft")
CONTROL = ("training.learning_rate=2.0e-2", "training.max_steps=264", "training.snapshot_steps=[]")
"""Too hard on purpose, so that abilities break: ten times the recipe's learning rate for three times its steps."""


class Measured(Record):
    """A measurement as it is kept; `key` holds all that it was made of."""

    key: Text
    figures: tuple[Figure, ...]


def measured(path: Path, key: str, measure: Callable[[], Sequence[Figure]]) -> Sequence[Figure]:
    """The figures kept in a file, where they were made of the same; otherwise they are made and kept."""
    if path.exists():
        kept = parse_record(read_text(path), Measured, str(path))
        if kept.key == key:
            return kept.figures
    tell(f"{path.parent.name}: measuring {path.stem}")
    figures = tuple(measure())
    write_json(path, Measured(key=key, figures=figures))
    return figures


def is_pretrained(folder: Path, settings: PretrainingSettings) -> bool:
    """Whether a folder holds the finished model of these settings, unharmed; its provenance is written last."""
    if not (folder / "provenance.json").exists():
        return False
    told = read_json(folder / "provenance.json")
    weights = fingerprint_of_file(folder / "model.safetensors")
    return told["settings"] == asdict(settings) and told["weights_sha256"] == weights


def recipe_of(place: Place) -> Recipe:
    """The demo's recipe with this start model and `n` held-out prompts a task, the curve's too."""
    held_out = ", ".join(f"{{kind: miniature, task: {task}, n: {place.n}}}" for task in prompts.TASKS)
    return load_recipe(
        recipe_path(),
        [
            *_of_place(place),
            f"prompts.held_out=[{held_out}]",
            f"generation.curve_prompts={place.n}",
        ],
    )


def control_of(place: Place) -> Recipe:
    """An over-trained CST: the same preferences, trained far too hard; only its abilities are measured."""
    preferences = place.run / "preferences" / "cst.jsonl"
    changed = (
        f"preferences={{path: '{preferences}'}}",
        "models={overtrained: []}",
        "prompts={}",
        "generation.curve_prompts=0",
    )
    return load_recipe(recipe_path(), [*_of_place(place), *changed, *CONTROL])


def _of_place(place: Place) -> tuple[str, str]:
    return f"model.path='{place.model}'", f"seed={place.index}"


def study_of_seed(place: Place, threads: int, *, is_given: bool) -> list[Figure]:
    """One seed from nothing to its figures; whatever was finished before is left as it is."""
    import torch

    torch.set_num_threads(threads)
    with RunFolder(place.folder).locked():
        settings = PretrainingSettings(seed=place.seed)
        if not is_given and not is_pretrained(place.model, settings):
            pretrain(place.model, settings, threads=threads)
        for recipe, folder in ((recipe_of(place), place.run), (control_of(place), place.folder / "control")):
            run(recipe, folder, update=True, tell=partial(_tell, place))
        workshop = open_workshop(recipe_of(place), place.run)
        try:
            return _figures(Desk(place, workshop))
        finally:
            workshop.close()


def _tell(place: Place, stage: str, outcome: str) -> None:
    tell(f"seed {place.seed}: {stage}: {outcome}")


def _figures(desk: Desk) -> list[Figure]:
    place = desk.place
    adapter = desk.workshop.tuned_folder("cst")
    tuned = folder_fingerprint(place.model, weight_files(place.model), None, adapter)
    figures = [figure for read in READ for figure in read(desk)]
    for name, measure in MEASUREMENTS.items():
        key = fingerprint(name, tuned, place.seed, place.index, place.n)
        figures += measured(place.folder / f"{name}.json", key, partial(measure, desk))
    return figures


def study(places: Sequence[Place], *, processes: int, threads: int, is_given: bool) -> Study:
    """All seeds, `processes` of them at once, each with so many threads."""
    work = partial(study_of_seed, threads=threads, is_given=is_given)
    if processes == 1:
        figures = [work(place) for place in places]
    else:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when a child loads torch
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            figures = list(pool.map(work, places))
    return Study(
        seeds=tuple(place.seed for place in places),
        n=places[0].n,
        threads=threads,
        models={str(place.seed): model_fingerprint(str(place.model)) for place in places},
        versions={package: version(package) for package in PACKAGES},
        figures=tuple(figure for of_seed in figures for figure in of_seed),
    )


def places_of(asked: argparse.Namespace) -> list[Place]:
    """Where each seed's work goes; a model that is given stands for the seed at its place in the list."""
    given: list[Path] = asked.models or []
    if given and len(given) != len(asked.seeds):
        raise DataError(f"{len(given)} --models for {len(asked.seeds)} --seeds; name as many of both.")
    places: list[Place] = []
    for position, seed in enumerate(asked.seeds):
        folder = asked.work.resolve() / f"seed-{seed}"
        model = given[position].resolve() if given else folder / "model"
        places.append(Place(seed, seed - SEEDS[0], folder, model, asked.n))
    return places


def show(found: Study) -> None:
    """The tables on standard output."""
    bounded, *others = study_tables(found)
    for table in (*others, bounded):
        draw(table)
    print(INTRODUCTION, summary(bounded))


def main() -> None:
    parser = argparse.ArgumentParser(description="The study of the miniature.")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of pretraining, 5 or more")
    parser.add_argument("--n", type=int, default=ANSWERS, help="answers a cell")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "study", help="where models and runs are kept")
    parser.add_argument("--models", type=Path, nargs="+", help="start models to measure instead of pretraining")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="seeds at once, as processes")
    parser.add_argument("--threads", type=int, metavar="N", help="of each process; by default its share of the cores")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are saved")
    parser.add_argument("--from-results", action="store_true", help="measure nothing: read the saved figures")
    parser.add_argument("--docs", action="store_true", help="write the tables to benchmarks/results/miniature.md")
    asked = parser.parse_args()
    if not asked.from_results:
        threads = asked.threads or max(1, len(os.sched_getaffinity(0)) // asked.parallel)
        found = study(places_of(asked), processes=asked.parallel, threads=threads, is_given=bool(asked.models))
        write_json(asked.out, found)
    found = parse_record(read_text(asked.out), Study, str(asked.out))
    if asked.docs:
        write_text(PAGE, markdown(found))
    show(found)


if __name__ == "__main__":
    try:
        main()
    except CstError as error:
        sys.exit(f"study: {error}")
    except KeyboardInterrupt:
        sys.exit("study: interrupted; the same command goes on from what was finished")
