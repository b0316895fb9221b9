"""Files are whole or not there, and say what is wrong with them."""

import gc
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.records import Message, Prompt, Verdict
from cst.store import (
    RecordFile,
    append_record,
    canonical_json,
    fingerprint,
    fingerprint_of_file,
    parse_record,
    read_json,
    read_records,
    read_text,
    seed_of,
    set_down,
    stream_lines,
    stream_records,
    uncollected,
    write_json,
    write_records,
    write_text,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON_VALUES))
def test_canonical_json_has_one_spelling(value):
    turned = dict(reversed(value.items()))

    assert canonical_json(turned) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_takes_records_and_paths_and_nothing_that_json_has_no_word_for():
    assert canonical_json([Message(role="user", content="é"), Path("a/b")]) == '[{"content":"é","role":"user"},"a/b"]'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
    with pytest.raises(TypeError, match="set is no JSON value"):
        canonical_json({1, 2})


def test_a_fingerprint_tells_values_and_their_borders_apart():
    values = [("ab", "c"), ("a", "bc"), ("abc",), (["ab", "c"],), ("ab", "c", None), (1,), ("1",)]

    assert len({fingerprint(*value) for value in values}) == len(values)
    assert fingerprint("ab", "c") == fingerprint("ab", "c")


def test_the_fingerprint_of_a_file_is_that_of_its_bytes(tmp_path):
    for name, content in [("a", b"x\r\n"), ("b", b"x\r\n"), ("c", b"x\n")]:
        (tmp_path / name).write_bytes(content)
    a, b, c = (fingerprint_of_file(tmp_path / name) for name in "abc")

    assert a == b != c


def test_text_is_written_as_it_is_and_folders_are_made(tmp_path):
    path = tmp_path / "deep" / "er" / "file.txt"
    write_text(path, "a\nb\r\né")

    assert path.read_bytes() == "a\nb\r\né".encode()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new" * 100_000 + "\ud800")

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_file_that_can_not_be_written_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("x")
    below = tmp_path / "file" / "below.jsonl"
    message = Message(role="user", content="Hi")
    for write in (lambda: write_text(below, "y"), lambda: append_record(below, message)):
        with pytest.raises(DataError, match=r"below.jsonl can't be written: (Not a directory|File exists)\. What was"):
            write()
    assert (tmp_path / "file").read_text() == "x"


def test_an_added_record_is_the_last_line(tmp_path):
    messages = [Message(role="user", content=text) for text in ("a", "b\nb", "ü")]
    write_records(tmp_path / "x.jsonl", messages[:1])
    for message in messages[1:]:
        append_record(tmp_path / "x.jsonl", message)
    assert read_records(tmp_path / "x.jsonl", Message) == messages


def test_json_is_read_as_written_and_keeps_its_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é\u2028"})

    assert list(read_json(tmp_path / "a.json").items()) == [("b", [1, 2.5]), ("a", "é\u2028")]


def test_records_of_any_text_are_one_line_each(tmp_path):
    texts = ["\n", "\r", "\u2028", "\x85", "\x0b", "\x1c", '"', "\\", "{}", "é", "\x00", "\ufeff"]
    prompts = [Prompt(id=str(number), text=text, task="t") for number, text in enumerate(texts)]
    path = tmp_path / "prompts.jsonl"
    write_records(path, prompts)

    assert path.read_bytes().count(b"\n") == len(prompts)
    assert read_records(path, Prompt) == prompts


def test_no_records_are_an_empty_file(tmp_path):
    write_records(tmp_path / "none.jsonl", [])

    assert (tmp_path / "none.jsonl").read_bytes() == b""
    assert read_records(tmp_path / "none.jsonl", Prompt) == []


def test_empty_lines_between_records_are_passed_over_and_still_counted(tmp_path):
    path = tmp_path / "messages.jsonl"
    path.write_text('{"role": "user", "content": "x"}\n\n{"role": "robot", "content": "x"}\n')

    with pytest.raises(DataError, match=r"messages\.jsonl:3 is not a valid Message: role='robot': Input should be"):
        read_records(path, Message)


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ('{"role": "user"}', Message, "here:7 is not a valid Message: field 'content' is missing. Add it"),
        ('{"role": "user", "content": "", "a": 1}', Message, "field 'a' is unknown. Remove it"),
        ('{"id": "p", "text": "", "task": "t"}', Prompt, "text='': String should have at least 1 character."),
        ('{"completion_id": "c", "judge": "j", "exhibits": "y1"}', Verdict, "exhibits='y1': Input should be"),
        ('{"id": "p"', Prompt, "here:7 is not a valid Prompt: Invalid JSON"),
        ('{"id": "' + "p" * 500 + '", "text": [], "task": "t"}', Prompt, "text=[]: Input should be a valid string"),
    ],
)
def test_a_bad_line_is_named_with_its_place_field_and_value(line, kind, says):
    with pytest.raises(DataError) as refusal:
        parse_record(line, kind, "here:7")

    assert says in str(refusal.value)


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(DataError) as refusal:
        parse_record(json.dumps({"role": "x" * 5000, "content": ""}), Message, "here:1")

    assert len(str(refusal.value)) < 300


def test_json_that_is_none_is_named_with_its_line(tmp_path):
    (tmp_path / "scores.json").write_text('[1,\n2,\n"a]')

    with pytest.raises(DataError, match=r"scores\.json:3 is not JSON: .* Fix or remove the file"):
        read_json(tmp_path / "scores.json")


def test_files_that_can_not_be_read_are_named(tmp_path):
    (tmp_path / "latin").write_bytes("né".encode("latin-1"))

    with pytest.raises(DataError, match=r"There is no file .*missing\. Check the path"):
        read_text(tmp_path / "missing")
    with pytest.raises(DataError, match="is a folder, and a file is needed"):
        read_text(tmp_path)
    with pytest.raises(DataError, match=r"latin is not UTF-8 \(byte 1\)\. Convert it"):
        read_text(tmp_path / "latin")


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1)), st.booleans())
def test_records_read_one_by_one_are_those_read_at_once(texts, has_mark):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_records(path, [Prompt(id="p", text=text, task="t") for text in texts])
        path.write_bytes(b"\xef\xbb\xbf" * has_mark + path.read_bytes().replace(b"\n", b"\n \n") + b"\n")
        records = read_records(path, Prompt)

        assert list(stream_records(path, Prompt)) == records
        with RecordFile(path, Prompt) as file:
            assert [file[number] for number in reversed(range(len(texts)))] == records[::-1]
            assert list(file) == list(file) == records


def test_a_bad_line_is_named_when_its_turn_comes(tmp_path):
    good = Prompt(id="p", text="x", task="t")
    (tmp_path / "rows").write_bytes(good.model_dump_json().encode() + b'\n{"id": "\xff"}\n')
    rows = stream_records(tmp_path / "rows", Prompt)

    assert next(rows) == good
    with pytest.raises(DataError, match=r"rows:2 is not a valid Prompt"):
        next(rows)
    with pytest.raises(DataError, match=r"There is no file .*missing"):
        next(stream_records(tmp_path / "missing", Prompt))


def test_a_bad_record_is_named_when_it_is_looked_up_and_a_missing_file_at_once(tmp_path):
    (tmp_path / "rows").write_text('\n{"id": "p"}\n')
    with (
        RecordFile(tmp_path / "rows", Prompt) as rows,
        pytest.raises(DataError, match=r"rows, record 1 is not a valid Prompt"),
    ):
        _ = rows[0]
    with pytest.raises(DataError, match=r"There is no file .*missing"):
        RecordFile(tmp_path / "missing", Prompt)


def test_records_that_come_once_are_gone_through_twice_and_leave_nothing(tmp_path):
    records = [Prompt(id=f"p{number}", text="x", task="t") for number in range(3)]
    with set_down(tmp_path / "rows", iter(records), Prompt) as file:
        assert list(file) == list(file) == records
    with pytest.raises(ZeroDivisionError), set_down(tmp_path / "rows", (1 // 0 for _ in "x"), Prompt):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbfHello")

    assert read_text(tmp_path / "marked") == "Hello"


def test_the_search_for_garbage_goes_on_as_before_after_records_are_read(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"role": "user"}\n')
    with uncollected():
        assert not gc.isenabled()
        with pytest.raises(DataError, match=r"rows\.jsonl:1"):
            read_records(tmp_path / "rows.jsonl", Message)
        assert not gc.isenabled()  # as the outer block left it
    assert gc.isenabled()


def test_lines_are_numbered_and_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "lines").write_bytes("\ufeffone\r\n\ntwo\rthree\u2028four\nlast".encode())
    assert list(stream_lines(tmp_path / "lines")) == [(1, "one"), (2, ""), (3, "two\rthree\u2028four"), (4, "last")]
    with pytest.raises(DataError, match="There is no file"):
        next(stream_lines(tmp_path / "missing"))


def test_a_seed_is_the_beginning_of_the_texts_sha_256():
    assert seed_of("") == 0xE3B0C44298FC1C14
    assert seed_of("0|s1|p1") != seed_of("1|s1|p1")
