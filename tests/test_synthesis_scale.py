"""The benchmark of scale goes the whole way and comes back after a kill; its figures are no test's business."""

import synthesis_scale


def test_every_prompt_but_near_duplicates_becomes_a_pair_and_all_stages_are_told(tmp_path):
    told = synthesis_scale.measure(130, tmp_path)

    assert told["pairs"] == 127
    assert told["drops"] == {"prompt_near_an_earlier_prompt": 3}
    assert told["calls"] == 3 * 127
    assert list(told["stages"]) == [
        *("plan", "prompts", "gates", "synthesize", "condition-cst"),
        *("export jsonl", "export json", "export parquet", "open journal"),
    ]


def test_a_killed_synthesis_keeps_what_was_answered(tmp_path):
    told = synthesis_scale.resume(100, 200, tmp_path)

    assert 200 - synthesis_scale.IN_FLIGHT <= told["answers_kept"] < 200
    assert told["asked_twice"] <= synthesis_scale.IN_FLIGHT
