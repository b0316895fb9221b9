"""An audit finds what was put into a file, in every kind of file, and calls clean what is."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from cst.annexes.audit import audit
from cst.annexes.audit.record import Audit
from cst.errors import DataError

REAL_DATA = Path(__file__).parents[4] / "shared" / "data" / "truthfulness.json"


def row(**changes: str) -> dict[str, str]:
    sound = {"system": "Be kind.", "prompt": "How is tea made?", "chosen": "With leaves.", "rejected": "Ask the baker."}
    return {**sound, "task": "manners", **changes}


def written(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def faults(found: Audit) -> dict[str, int]:
    """The faults that were found, each with its rows."""
    every = [*found.findings, *(found.tokens.findings if found.tokens else ())]
    return {each.fault: each.rows.count for each in every if each.rows.count}


def test_a_sound_file_is_clean(tmp_path):
    found = audit(written(tmp_path / "rows.jsonl", [row(), row(prompt="Where is Rome?")]))

    assert found.is_clean
    assert faults(found) == {}
    assert (found.kind, found.rows, found.formats, found.tasks) == ("preferences", 2, {"paper": 2}, {"manners": 2})
    assert found.system_prompts.most_frequent == (("Be kind.", 2),)
    assert {each.column: each.median for each in found.lengths}["chosen"] == len("With leaves.")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"chosen": "My previous answer was rash."}, "chosen speaks of a revision"),
        ({"rejected": "My previous answer was rash."}, "rejected speaks of a revision"),
        ({"chosen": "[Pirate Mode] Arr!"}, "chosen bears marks of a persona"),
        ({"rejected": "[Pirate Mode] Arr!"}, "rejected bears marks of a persona"),
        ({"chosen": "Boil it. Then add"}, "chosen ends mid-sentence"),
        ({"rejected": "Boil it. Then add"}, "rejected ends mid-sentence"),
        ({"chosen": "Ask  the BAKER!"}, "chosen and rejected nearly equal"),
        ({"chosen": "I can't help you.", "rejected": "I refuse."}, "chosen and rejected both refuse"),
        ({"chosen": "Ask the baker.", "rejected": "With leaves."}, "reversed under the same system prompt"),
        ({}, "the same as an earlier row"),
        ({"prompt": "How, how is tea made?"}, "prompt near an earlier row's"),
    ],
)
def test_each_fault_is_found_where_it_stands(tmp_path, changes, fault):
    found = audit(written(tmp_path / "rows.jsonl", [row(), row(prompt="Where is Rome?"), row(**changes)]))
    (finding,) = [each for each in found.findings if each.rows.count]

    assert finding.fault == fault
    assert finding.places[-1] == f"{tmp_path / 'rows.jsonl'}:3"
    assert not found.is_clean


def test_one_refusal_of_two_answers_is_told_and_is_no_fault(tmp_path):
    found = audit(written(tmp_path / "rows.jsonl", [row(chosen="I'm sorry, but I can't help."), row(prompt="Rome?")]))

    assert (found.refusals["chosen"].count, found.refusals["rejected"].count) == (1, 0)
    assert found.is_clean


def test_bad_rows_are_counted_with_their_place_and_reason(tmp_path):
    path = written(tmp_path / "rows.jsonl", [row(), row(prompt="")])
    found = audit(path)

    assert (found.bad.rows.count, found.bad.rows.n) == (1, 2)
    assert found.bad.examples[0].startswith(f"{path}:2 has an empty prompt")
    assert not found.is_clean


def mirrored_rows(n: int) -> list[dict[str, str]]:
    """Pairs in both orders, the longer answer preferred under one of the two system prompts."""
    texts = [
        (f"Question {i} of w{i} and v{i}?", f"Long is answer {i}, and it goes on.", f"Short {i}.") for i in range(n)
    ]
    return [
        row(prompt=prompt, chosen=chosen, rejected=rejected, system=system)
        for prompt, long, short in texts
        for system, chosen, rejected in (("Be long.", long, short), ("Be short.", short, long))
    ]


def test_mirrored_rows_are_told_and_so_is_what_length_gives_away_under_each_system_prompt(tmp_path):
    found = audit(written(tmp_path / "rows.jsonl", mirrored_rows(20)))

    assert found.mirrored is not None
    assert (found.mirrored.count, found.mirrored.n) == (40, 40)
    assert [(each.group, each.prefers_longer, each.right.count) for each in found.shortcuts] == [
        ("system prompt 'Be long.'", True, 20),
        ("system prompt 'Be short.'", False, 20),
    ]
    assert [fault.split(":")[0] for fault in faults(found)] == ["length gives the preferred answer away"] * 2


def test_few_rows_are_no_proof_of_a_shortcut(tmp_path):
    assert audit(written(tmp_path / "rows.jsonl", mirrored_rows(5))).is_clean


def test_training_prompts_near_held_out_ones_are_found(tmp_path):
    rows = written(tmp_path / "rows.jsonl", [row(), row(prompt="Where is Rome?")])
    held_out = written(tmp_path / "held_out.jsonl", [{"prompt": "how is TEA made"}])

    assert faults(audit(rows, held_out=held_out)) == {"prompt near a held-out one": 1}


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("p.csv", "goal,target\nSing a song.,Sure\nBake a cake.,Sure\n", "goals"),
        ("p.txt", "Sing a song.\nBake a cake.\n", "prompts"),
        ("p.json", '{"instructions": ["Sing a song.", "Bake a cake."], "inputs": []}', "safety-tuned-llamas"),
        ("p.jsonl", '{"messages": [{"role": "user", "content": "Sing a song."}]}\n' * 1, "messages"),
    ],
)
def test_prompt_files_are_audited_too(tmp_path, name, text, format):
    (tmp_path / name).write_text(text)
    found = audit(tmp_path / name)

    assert (found.kind, set(found.formats), found.is_clean) == ("prompts", {format}, True)
    assert (found.mirrored, found.shortcuts, found.refusals) == (None, (), {})


def test_columns_that_are_found_and_not_read_are_named(tmp_path):
    found = audit(written(tmp_path / "rows.jsonl", [row(score="3")]))

    assert set(found.columns) - {"score"} == set(row())
    assert found.unread == ("score",)


def test_a_format_can_be_named_and_must_be_known(tmp_path):
    path = written(tmp_path / "rows.jsonl", [{"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."}])

    assert audit(path).kind == "preferences"
    assert audit(path, format="prompts").kind == "prompts"
    with pytest.raises(DataError, match="no format 'trll'"):
        audit(path, format="trll")
    with pytest.raises(DataError, match="There is no file"):
        audit(tmp_path / "none.jsonl")


def test_a_file_of_bad_rows_alone_is_no_crash(tmp_path):
    (tmp_path / "rows.jsonl").write_text("no row\n")
    found = audit(tmp_path / "rows.jsonl", tokenizer="miniature")

    assert (found.rows, found.bad.rows.count, found.tokens, found.is_clean) == (0, 1, None, False)


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the paper's rows are not shipped")
def test_sound_prose_is_hardly_ever_taken_for_faulty():
    """968 rows of real answers; what is found in them was read: an answer of digits, two double refusals, two twins."""
    found = audit(REAL_DATA)

    assert (found.rows, found.formats, found.bad.rows.count) == (968, {"paper": 968}, 0)
    assert found.mirrored is not None
    assert found.mirrored.count == 0
    assert faults(found) == {
        "rejected ends mid-sentence": 1,
        "chosen and rejected both refuse": 2,
        "prompt near an earlier row's": 2,
    }
    assert found.refusals["chosen"].count + found.refusals["rejected"].count == 27
    (shortcut,) = found.shortcuts
    assert (shortcut.right.n, shortcut.right.count < 0.75 * 968) == (968, True)
