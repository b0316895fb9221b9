"""Killed at any moment, a rerun ends with the same replies, and asks for nothing that was acknowledged."""

import endpoint_kills


def test_kills_change_nothing_and_cost_no_answer_twice(tmp_path):
    outcome = endpoint_kills.trial(tmp_path, kills=12, n=60, seconds=0.4, seed=1)

    assert outcome.kills >= 12
    assert outcome.runs >= 1
    assert outcome.differing == 0
    assert outcome.asked_again == []
