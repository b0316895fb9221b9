"""The pure parts of the training benchmarks: rows, counted operations, ratios, and turns between processes."""

import math
from statistics import mean

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from cst.models.adapters import add_lora
from cst.models.rendering import Renderer, TokenSequence
from cst.training.batches import tokenize
from train_throughput import TOLERANCE, Race, figures, largest_difference
from training_flops import Positions, each_alone, prefixes_shared, step_flops
from training_models import MADE_UP_VOCABULARY, Size, config_of, tokenizer_for
from training_rows import LONG_CHARACTERS, SHORT_CHARACTERS, rows_of
from turns import Report, Training, Turns

LN2 = math.log(2)
SIZE = Size(hidden=32, intermediate=48, layers=3, heads=2)


def test_rows_are_mirrored_and_as_long_as_said():
    rows = rows_of("real", n=40, seed=1)
    by_pair = {}
    for row in rows:
        by_pair.setdefault(row.id.split("-")[1], {})[row.configuration] = row
    assert len(by_pair) == 20
    assert all(pair["s1"].chosen == pair["s0"].rejected for pair in by_pair.values())
    assert all(pair["s1"].rejected == pair["s0"].chosen for pair in by_pair.values())
    assert len({row.system_prompt for row in rows}) == 2
    refusals, answers = zip(*((pair["s1"].chosen, pair["s0"].chosen) for pair in by_pair.values()), strict=True)
    assert mean(map(len, refusals)) == pytest.approx(SHORT_CHARACTERS, rel=0.02)
    assert mean(map(len, answers)) == pytest.approx(LONG_CHARACTERS, rel=0.02)


def test_rows_come_from_the_seed():
    assert rows_of("real", n=8, seed=1) == rows_of("real", n=8, seed=1)
    assert rows_of("real", n=8, seed=1) != rows_of("real", n=8, seed=2)


def test_long_rows_differ_by_a_policy_before_each_system_prompt():
    real, long = rows_of("real", n=12, seed=1), rows_of("long", n=12, seed=1)
    assert len({row.system_prompt for row in long}) == 2
    for before, after in zip(real, long, strict=True):
        assert after.system_prompt.endswith(before.system_prompt)
        assert after.model_copy(update={"system_prompt": before.system_prompt}) == before


def test_a_token_has_about_four_characters_and_a_policy_about_300_tokens():
    rows = {kind: rows_of(kind, n=56, seed=0) for kind in ("real", "long")}
    renderer = Renderer.for_tokenizer(tokenizer_for(rows["long"], MADE_UP_VOCABULARY))
    tokens = {kind: tokenize(found, renderer) for kind, found in rows.items()}
    sides = [
        (text, side)
        for row, t in zip(rows["real"], tokens["real"], strict=True)
        for text, side in ((row.chosen, t.chosen), (row.rejected, t.rejected))
    ]
    responses = sum(len(side.tokens) - side.response_start for _, side in sides)
    assert 3.5 < sum(len(text) for text, _ in sides) / responses < 4.5
    prefixes = {kind: mean(row.chosen.response_start for row in found) for kind, found in tokens.items()}
    assert 240 < prefixes["long"] - prefixes["real"] < 360


def test_a_shared_prefix_is_counted_once():
    sequences = [TokenSequence((1, 2, 3, 4), 2), TokenSequence((1, 2, 5, 4, 6), 2)]
    assert each_alone(sequences) == Positions(tokens=3 + 4, pairs=6 + 10, scored=2 + 3)
    assert prefixes_shared(sequences) == Positions(tokens=5, pairs=1 + 2 + 3 + 3 + 4, scored=2 + 3)


def test_sequences_that_begin_apart_share_nothing():
    sequences = [TokenSequence((1, 2, 3), 1), TokenSequence((2, 2, 3), 1)]
    assert prefixes_shared(sequences) == each_alone(sequences)


@pytest.mark.parametrize("rank", [2, 8])
def test_operations_are_those_that_torch_counts(rank: int):
    """Eager attention computes all pairs of a sequence, and the head scores all positions: counted as such here."""
    length, vocabulary = 24, 101
    config = config_of(SIZE, vocabulary)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).requires_grad_(False)
    policy = add_lora(model, r=rank, alpha=rank, dropout=0.0, target_modules="all-linear", seed=0)
    with FlopCounterMode(display=False) as counter:
        policy(input_ids=torch.arange(length)[None], use_cache=False).logits.sum().backward()
    positions = Positions(tokens=length, pairs=length * length, scored=length)
    assert counter.get_total_flops() == step_flops(SIZE, vocabulary=vocabulary, rank=rank, positions=positions)


def test_losses_within_the_tolerance_pass():
    assert largest_difference([LN2, 0.8], [LN2, 0.8 + TOLERANCE / 2]) == pytest.approx(TOLERANCE / 2)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([LN2, 0.8], [LN2, 0.8 + 2 * TOLERANCE]), ([0.7, 0.8], [0.7, 0.8]), ([LN2, LN2], [LN2, LN2])],
    ids=["apart", "not ln 2 at first", "never moved"],
)
def test_losses_that_say_nothing_good_stop_the_benchmark(ours: list[float], theirs: list[float]):
    with pytest.raises(SystemExit, match="don't train the same"):
        largest_difference(ours, theirs)


def test_ratios_are_of_neighbouring_steps():
    ours = [Report(LN2, seconds=1.0, reference_seconds=1.0), Report(LN2, seconds=2.0), Report(LN2, seconds=4.0)]
    theirs = [Report(LN2, seconds=6.0), Report(LN2, seconds=4.0), Report(LN2, seconds=4.0)]
    cached = figures(Race(ours, theirs), [10, 20, 40], "cached")
    assert cached["ratio"] == {"median": 2.0, "min": 1.0, "max": 6.0}
    assert cached["tokens_per_second"] == {"ours": 10, "trl": 5}
    assert figures(Race(ours, theirs), [10, 20, 40], "in the step")["ratio"]["max"] == 3.0


def allocate(megabytes: int, turns: Turns) -> None:
    """A training that holds one tensor while it steps."""
    turns.ready("tokens")
    while True:
        turns.wait()
        turns.start()
        torch.ones(megabytes, 1000, 1000, dtype=torch.uint8)
        turns.stop()
        turns.tell(LN2)


def test_a_child_takes_one_step_a_turn_and_weighs_it():
    training = Training(allocate, 80, device="cpu", threads=1, weighs=True)
    try:
        assert training.wait_until_ready() == "tokens"
        training.step()
        report = training.step()
    finally:
        training.close()
    assert report.loss == LN2
    assert 75e6 < report.peak_bytes < 100e6


def fail(_setup: None, _turns: Turns) -> None:
    raise SystemExit(3)


def test_a_child_that_fails_ends_the_benchmark():
    training = Training(fail, None, device="cpu", threads=1)
    with pytest.raises(SystemExit, match="before its time"):
        training.wait_until_ready()
    training.close()
