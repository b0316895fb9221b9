"""The shipped miniature makes the same pairs behind a server and in this process, by the demo's recipe."""

import pytest

from endpoint_identity import FILES, trial


@pytest.mark.parametrize(("seed", "share", "batch"), [(0, 0.12, 32), (1, 0.12, 32), (2, 0.03, 1)])
def test_pairs_and_drops_are_the_same_to_the_byte(tmp_path, seed, share, batch):
    found = trial(tmp_path, seed=seed, share=share, local_batch=batch, server_batch=batch)

    assert found.differing_files == []
    assert found.differing_answers == 0
    assert found.answers > found.prompts > found.pairs > 0
    assert found.failed_calls > 0
    assert found.mean_server_batch > 1 or batch == 1


def test_a_server_that_is_sent_no_seed_says_something_else(tmp_path):
    found = trial(tmp_path, seed=0, share=0.03, local_batch=32, server_batch=32, sends_seed=False)

    assert set(found.differing_files) >= {"pairs.jsonl"}
    assert found.differing_files != list(FILES)  # the prompts are the same
    assert found.differing_answers > found.answers / 4
