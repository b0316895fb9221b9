"""Flipped bytes of a run's folder and of exports are noticed before use; where nothing is written down, they aren't."""

import json
from collections import Counter
from pathlib import Path

import pytest

from cst.recipe.reading import parse_recipe
from cst.records import Preference, Prompt
from damage import Place, exported, flips, of_one_file, of_run, without_checksums

FLIPS, SEED = 60, 0
RECIPE = """
name: small
model: {path: miniature}
preferences: {path: rows.jsonl}
prompts: {held_out: [{kind: miniature, task: harmless, n: 4}]}
configurations: miniature
"""
PREFERENCES = [
    Preference(id=f"p{n}", task="t", configuration="s1", prompt=f"Why {n}?", chosen=f"Yes, {n}.", rejected=f"No, {n}.")
    for n in range(3)
]
PROMPTS = [Prompt(id=f"p{n}", text=f"Why {n}?", task="harmless") for n in range(3)]


def counts(place: Place) -> Counter[str]:
    return Counter(flips(place, FLIPS, SEED))


@pytest.fixture
def run_folder(tmp_path: Path) -> Place:
    row = {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No.", "system": "Be kind."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    return of_run(parse_recipe(RECIPE, where="small.yaml", folder=tmp_path), tmp_path / "run", until="condition")


def test_in_a_run_folder(run_folder: Place):
    found = counts(run_folder)
    assert found["missed"] == 0
    assert found["refused"] > FLIPS / 2

    alone = counts(of_one_file(run_folder.folder))
    assert alone["missed"] == 0
    assert alone["refused"] > FLIPS / 2


def test_in_a_run_folder_without_markers_they_are_used(run_folder: Place):
    def bring(file: Path) -> object:
        for marker in (run_folder.folder / "stages").iterdir():
            marker.unlink()
        return run_folder.use(file)

    files = [file for file in run_folder.files if file.parent.name != "stages"]
    assert counts(Place(run_folder.folder, files, bring))["missed"] > 0


def test_in_exports_of_every_format_and_not_without_their_checksums(tmp_path: Path):
    place = exported(tmp_path / "checked", PREFERENCES, PROMPTS)
    assert {file.suffix for file in place.files} == {".json", ".jsonl", ".csv", ".tsv", ".parquet", ".sha256"}
    found = counts(place)
    assert found["missed"] == 0
    assert found["refused"] > FLIPS / 2

    unchecked = counts(without_checksums(tmp_path / "unchecked", place))
    assert unchecked["missed"] > 0
