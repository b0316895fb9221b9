"""Chunks written one after the other are what they are written together."""

import pytest

from cst.records import Drop, Prompt, ResponsePair
from cst.store import read_records
from cst.synthesis.critique import Synthesis
from cst.synthesis.gates import summarize
from cst.synthesis.output import write_chunks


def chunk(n):
    pair = ResponsePair(prompt=Prompt(id=f"p{n}", text="x", task="ab"[n % 2]), original="o", revised="r", author="me")
    return Synthesis((pair, pair), (Drop(prompt_id=f"d{n}", task="bc"[n % 2], reason="xy"[n % 2]),))


def test_files_and_counts_are_those_of_all_chunks_together(tmp_path):
    chunks = [chunk(n) for n in range(5)]
    summary = write_chunks(iter(chunks), tmp_path / "pairs", tmp_path / "drops")
    pairs, drops = ([each for chunk in chunks for each in getattr(chunk, kind)] for kind in ("pairs", "drops"))

    assert read_records(tmp_path / "pairs", ResponsePair) == pairs
    assert read_records(tmp_path / "drops", Drop) == drops
    assert summary == summarize(pairs, drops)


def test_a_synthesis_that_fails_leaves_no_file(tmp_path):
    def failing():
        yield chunk(0)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_chunks(failing(), tmp_path / "pairs", tmp_path / "drops")
    assert list(tmp_path.iterdir()) == []
