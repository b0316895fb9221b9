"""Bytes come in as UTF-8 whatever they were, and what can't be read on is said and never guessed."""

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.preferences.files import FREE_EXPANSION_BYTES, Unreadable, chunks, encoding_of

TEXT = '{"prompt": "Grüße, \U0001f600 \u4f60"}\n' * 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_with_a_byte_order_mark_is_read_as_it_was_meant(tmp_path, encoding):
    (tmp_path / "file").write_bytes(TEXT.encode(encoding))

    assert b"".join(chunks(tmp_path / "file")).decode() == TEXT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_text_without_a_mark_is_told_by_its_nul_bytes(tmp_path, encoding):
    (tmp_path / "file").write_bytes(TEXT.encode(encoding))

    assert b"".join(chunks(tmp_path / "file")).decode() == TEXT


@given(start=st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"])).map(str.encode))
def test_utf_8_is_never_taken_for_something_else(start):
    assert encoding_of(start) == "utf-8"


def test_half_a_pair_of_surrogates_in_utf_16_is_passed_on_for_the_row_to_be_named(tmp_path):
    (tmp_path / "file").write_bytes('"a\ud83db"'.encode("utf-16", "surrogatepass"))

    assert b"".join(chunks(tmp_path / "file")) == b'"a\xed\xa0\xbdb"'


def test_torn_utf_16_is_said(tmp_path):
    (tmp_path / "file").write_bytes(TEXT.encode("utf-16")[:-1])

    with pytest.raises(Unreadable, match="torn or not utf-16"):
        list(chunks(tmp_path / "file"))


def test_a_packed_file_is_unpacked(tmp_path):
    (tmp_path / "file.gz").write_bytes(gzip.compress(TEXT.encode("utf-16")))

    assert b"".join(chunks(tmp_path / "file.gz")).decode() == TEXT


@pytest.mark.parametrize("damage", ["torn", "flipped", "no gz"])
def test_a_damaged_packed_file_is_said(tmp_path, damage):
    data = bytearray(gzip.compress(random.Random(0).randbytes(10_000)))
    if damage == "flipped":
        data[5000] ^= 255
    (tmp_path / "file.gz").write_bytes({"torn": data[:-100], "flipped": data, "no gz": b"plain"}[damage])

    with pytest.raises(Unreadable, match=r"torn or damaged .*Fetch it again"):
        list(chunks(tmp_path / "file.gz"))


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(8 * FREE_EXPANSION_BYTES), compresslevel=1))
    read = 0

    with pytest.raises(Unreadable, match="as a gz bomb's do"):
        for chunk in chunks(tmp_path / "bomb.gz"):
            read += len(chunk)
    assert read <= 4 * FREE_EXPANSION_BYTES


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*none"):
        list(chunks(tmp_path / "none"))
    with pytest.raises(DataError, match="is a folder, and a file is needed"):
        list(chunks(tmp_path))
