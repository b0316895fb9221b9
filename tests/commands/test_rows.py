"""`cst mix`: files of the original's columns, each with its checksum, and a card with the licences of the sources."""

import hashlib
import json

import pytest
from huggingface_hub import DatasetCard

from cst.commands.rows import MixSettings, counts_in, ingredients, write_mixtures
from cst.errors import DataError
from cst.preferences.sources import read_demonstrations
from test_cli import cst


def row(name: str, number: int, given: str = "") -> dict[str, str]:
    words = " ".join(f"{name}{number}{letter}" for letter in "abcd")
    return {"instruction": f"Tell of {words}.", "input": given, "output": f"So {number}."}


@pytest.fixture
def folder(tmp_path):
    instructions = [row("thing", number, given="A note." if number % 2 else "") for number in range(30)]
    (tmp_path / "alpaca.json").write_text(json.dumps(instructions))
    (tmp_path / "safety.json").write_text(json.dumps([row("care", number) for number in range(12)]))
    return tmp_path


def mixed(folder, *, n=20, counts=(0, 3, 8), seed=0, suffix=".json", licenses=("cc-by-nc-4.0", "mit"), **more):
    write_mixtures(
        folder / "out",
        ingredients("instructions", [str(folder / "alpaca.json")], [licenses[0]] if licenses else []),
        ingredients("safety", [str(folder / "safety.json")], [licenses[1]] if licenses else []),
        MixSettings(n, counts, seed, suffix, **more),
        as_json=False,
    )
    return folder / "out"


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_each_number_has_a_file_of_the_original_rows(folder, suffix):
    out = mixed(folder, suffix=suffix)
    texts = {n: (out / f"safety-{n}{suffix}").read_text() for n in (0, 3, 8)}
    found = {
        n: json.loads(text) if suffix == ".json" else [json.loads(line) for line in text.splitlines()]
        for n, text in texts.items()
    }
    originals = [json.loads((folder / name).read_text()) for name in ("alpaca.json", "safety.json")]

    assert [len(found[n]) for n in (0, 3, 8)] == [20, 23, 28]
    assert all(each in originals[0] + originals[1] for rows in found.values() for each in rows)
    assert [sum(each in originals[1] for each in found[n]) for n in (0, 3, 8)] == [0, 3, 8]
    assert all(each in found[8] for each in found[3])
    for n, text in texts.items():
        told = (out / f"safety-{n}{suffix}.sha256").read_text()
        assert told == f"{hashlib.sha256(text.encode()).hexdigest()}  safety-{n}{suffix}\n"


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(folder):
    first, again, other = ((mixed(folder, seed=seed) / "safety-8.json").read_bytes() for seed in (1, 1, 2))

    assert first == again != other


def test_a_mixture_is_read_again_with_its_inputs(folder):
    rows = read_demonstrations(mixed(folder) / "safety-3.json", task="instructions")

    assert {each.input for each in rows} == {"", "A note."}
    assert len(rows) == 23


def test_the_card_tells_licences_counts_and_fingerprints(folder):
    out = mixed(folder)
    card = (out / "README.md").read_text()
    header = DatasetCard(card).data.to_dict()

    assert (header["license"], header["license_name"]) == ("other", "cc-by-nc-4.0-and-mit")
    assert header["configs"][1] == {"config_name": "safety-3", "data_files": "safety-3.json"}
    assert "- `alpaca.json`: cc-by-nc-4.0, which is for non-commercial use alone" in card
    assert "- `safety.json`: mit\n" in card
    assert (
        f"| safety-3.json | 23 | 20 | 3 | 0 | `{hashlib.sha256((out / 'safety-3.json').read_bytes()).hexdigest()}`"
        in card
    )
    assert hashlib.sha256((folder / "alpaca.json").read_bytes()).hexdigest() in card
    assert str(folder) not in card


def test_the_card_tells_how_many_rows_were_drawn_of_each_source(folder):
    """Of several files, rows are drawn together; a row that can't be used is none of them."""
    (folder / "more.json").write_text(json.dumps([row("other", number) for number in range(10)]))
    care = [row("care", number) for number in range(12)] + [row("thing", 1, given="A note.")]
    (folder / "safety.json").write_text(json.dumps(care))
    files = [str(folder / name) for name in ("alpaca.json", "more.json")]
    safety = ingredients("safety", [str(folder / "safety.json")], [])
    write_mixtures(
        folder / "out", ingredients("instructions", files, []), safety, MixSettings(25, [3], 0, ".json"), as_json=False
    )
    written = json.loads((folder / "out/safety-3.json").read_text())
    others = sum("other" in each["instruction"] for each in written)
    card = (folder / "out/README.md").read_text()

    assert 0 < others < 10
    assert f"| instructions | `alpaca.json` | {25 - others} |" in card
    assert f"| instructions | `more.json` | {others} |" in card
    assert "| safety | `safety.json` | 13 |" in card


@pytest.mark.parametrize(
    ("licenses", "said"), [(("mit", "mit"), {"license": "mit"}), ((), {}), (("cc0-1.0", "mit"), {"license": "other"})]
)
def test_a_licence_is_named_where_all_sources_have_the_same(folder, licenses, said):
    header = DatasetCard((mixed(folder, licenses=licenses) / "README.md").read_text()).data.to_dict()

    assert {"license": header.get("license")} == {"license": None} | said


def test_what_can_not_be_used_is_set_aside_and_counted(folder):
    rows = json.loads((folder / "alpaca.json").read_text())
    care = json.loads((folder / "safety.json").read_text())[0]
    (folder / "alpaca.json").write_text(json.dumps([*rows, row("thing", 99) | {"output": ""}, care]))
    with pytest.raises(DataError, match="has an empty output"):
        mixed(folder)
    out = mixed(folder, skip_bad_rows=True)

    assert "has an empty output" in (out / "quarantine/alpaca.json.quarantine.jsonl").read_text()
    assert "| instructions | also_a_safety_example | 1 |" in (out / "README.md").read_text()


def test_rows_that_nearly_ask_a_held_out_prompt_are_left_out(folder):
    prompt = json.loads((folder / "safety.json").read_text())[4]["instruction"]
    (folder / "test.txt").write_text(f"{prompt} Please\n")
    out = mixed(folder, counts=(11,), held_out=[str(folder / "test.txt")])

    assert prompt not in (out / "safety-11.json").read_text()
    assert "| safety | near_a_held_out_prompt | 1 |" in (out / "README.md").read_text()


def test_too_few_rows_leave_nothing_behind(folder):
    with pytest.raises(DataError, match="--n asks for 31 rows, and 30 of its 30 can be used"):
        mixed(folder, n=31)
    with pytest.raises(DataError, match="--counts asks for 13 safety examples, and there are 12 that can be used"):
        mixed(folder, counts=(3, 13))
    assert not (folder / "out").exists()


def test_licences_and_counts_are_read_strictly():
    assert counts_in("0, 100") == [0, 100]
    for text in ("", "1,x", "-1", "3,3"):
        with pytest.raises(DataError, match=r"can't be read\. Write numbers"):
            counts_in(text)
    with pytest.raises(DataError, match="--safety-license is given 1 times, but --safety 2 times"):
        ingredients("safety", ["a", "b"], ["mit"])


def test_the_command_line_mixes_and_says_what(folder):
    words = ["mix", "out", "--instructions", "alpaca.json", "--safety", "safety.json", "--n", "20", "--counts", "0,3"]
    done = cst(*words, "--instructions-license", "mit", "--json", cwd=folder)

    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)["files"]
    assert [each["file"] for each in files] == ["safety-0.json", "safety-3.json"]
    assert [part["drawn"] for part in files[1]["parts"]] == [20, 3]


def test_the_hub_s_own_reader_finds_each_mixture_by_its_name(folder):
    pytest.importorskip("datasets")
    rows = read_demonstrations(f"hub:{mixed(folder)}:safety-3:train", task="instructions")

    assert len(rows) == 23
