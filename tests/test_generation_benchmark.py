"""The parts of the generation benchmark that decide what its figures say: equal answers, samples, ratios."""

from dataclasses import replace

import pytest

from generate_throughput import PEERS, Timed, Work, end_tokens, equal_answers, figures, ours, sample_of, up_to_end
from models.tiny import tiny_model

PROMPTS = [[7, 8, 9, *range(20, 20 + 3 * i)] for i in range(1, 13)]


@pytest.fixture(scope="module")
def work() -> Work:
    return Work(tiny_model().eval(), PROMPTS, new_tokens=12)


@pytest.mark.parametrize("peer", PEERS)
def test_each_peer_answers_as_we_do_and_ends_where_we_end(work: Work, peer: str):
    whole = ours(work)
    ending = replace(work, ends=frozenset({whole[0][4], whole[5][2]}))
    assert PEERS[peer](work) == whole
    assert PEERS[peer](ending) == ours(ending)
    assert {len(answer) for answer in whole} == {12} < {len(answer) for answer in ours(ending)}


def test_other_answers_stop_the_benchmark():
    assert equal_answers([[1, 2], [3]], [[1, 2], [3]]) == 2
    with pytest.raises(SystemExit, match="only 1 of 2 answers"):
        equal_answers([[1, 2], [3]], [[1, 2], [4]])


def test_a_sample_is_spread_over_the_lengths(work: Work):
    assert sample_of(work, 3).prompts == [PROMPTS[2], PROMPTS[6], PROMPTS[10]]
    assert sample_of(work, 12).prompts == PROMPTS


def test_end_tokens_come_from_the_seed_and_leave_most_tokens_alone():
    assert end_tokens() == end_tokens()
    assert 500 < len(end_tokens()) < 1000


def test_what_pads_an_answer_is_cut_off():
    assert up_to_end([5, 6, 7, 0, 0], frozenset({7})) == [5, 6, 7]
    assert up_to_end([5, 7, 6, 7], frozenset({7})) == [5, 7]
    assert up_to_end([5, 6], frozenset({7})) == [5, 6]


def test_a_ratio_is_of_seconds_a_token_in_neighbouring_turns():
    ours_, theirs = [[1] * 10] * 8, [[1] * 10] * 2
    seen = figures([Timed(ours_, 1.0), Timed(ours_, 2.0)], [Timed(theirs, 5.0), Timed(theirs, 1.0)])
    assert seen["ratio"] == {"median": 11.0, "min": 2.0, "max": 20.0}
    assert seen["n"] == 2
    assert seen["tokens_per_second"] == {"ours": 53.3, "theirs": 6.7}
