"""Retry-After is read as RFC 9110 has it; all else about failures is tried on a server in test_endpoint."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.endpoint_failures import ADVICE, FINAL_KINDS, retry_after_seconds

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 17 ", 17.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_seconds_and_dates_are_read(header, seconds):
    assert retry_after_seconds(header, NOW) == seconds


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows has no tzset")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "XYZ+7"])
def test_a_date_of_the_oldest_form_is_in_utc_wherever_it_is_read(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    seconds = retry_after_seconds(time.asctime(time.gmtime(NOW + 30)), NOW)
    monkeypatch.undo()
    time.tzset()

    assert seconds == 30.0


@given(st.text(max_size=40))
def test_nothing_that_stands_in_a_header_breaks_a_run(header):
    seconds = retry_after_seconds(header, NOW)

    assert seconds is None or seconds >= 0


def test_what_a_user_must_mend_comes_with_advice():
    assert set(ADVICE) >= FINAL_KINDS
