"""The benchmark of scale makes a pair of every prompt; its figures are no test's business."""

import synthesis_scale


def test_every_prompt_becomes_a_pair_and_sizes_are_told():
    told = synthesis_scale.measure(130)

    assert told["pairs"] == told["prompts"] == 130
    assert told["pair_bytes"] > 3 * len(synthesis_scale.ANSWER)
