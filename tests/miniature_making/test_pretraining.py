"""A run is a function of its settings, and a killed run ends where an unkilled one does."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from cst.errors import TrainingError
from miniature_making import pretraining
from miniature_making.pretraining import Batch, PretrainingSettings

TINY = PretrainingSettings(
    steps=4,
    warmup_steps=1,
    tokens_per_batch=400,
    hidden_size=32,
    layers=1,
    checkpoint_every=2,
    pool_size=64,
    tokenizer_documents=200,
)


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    pretraining.pretrain(whole, TINY, threads=1)
    pretraining.pretrain(parts, TINY, threads=1, stop_at=2)
    assert not (parts / "model.safetensors").exists()
    pretraining.pretrain(parts, TINY, threads=1)
    one, other = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    loaded = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
    assert loaded.dtype == torch.float32
    provenance = json.loads((whole / "provenance.json").read_text())
    assert provenance["steps"] == 4 and provenance["tokens_seen"] > 0
    other = json.loads((parts / "provenance.json").read_text())
    assert other["losses"] == provenance["losses"] and other["weights_sha256"] == provenance["weights_sha256"]


def test_another_runs_checkpoint_is_refused(tmp_path: Path):
    pretraining.pretrain(tmp_path, TINY, threads=1, stop_at=2)
    with pytest.raises(TrainingError, match="another run"):
        pretraining.pretrain(tmp_path, dataclasses.replace(TINY, seed=99), threads=1)


def test_the_loss_sees_responses_only():
    tokenizer = pretraining.build_tokenizer(0, 50)
    model = pretraining.build_model(TINY, tokenizer)
    (batch, *_), *_ = pretraining.pool_steps(TINY, tokenizer, 0)
    labels = batch.tokens.masked_fill(batch.weights == 0, -100)
    flat = Batch(batch.tokens, (batch.weights > 0).float())
    mean = model(input_ids=batch.tokens, labels=labels).loss.item()
    expected = mean * flat.weights.sum().item()
    assert pretraining.response_loss(model, flat).item() == pytest.approx(expected, rel=1e-5)
    scaled = Batch(batch.tokens, 7 * batch.weights)
    weighted = pretraining.response_loss(model, batch).item()
    assert pretraining.response_loss(model, scaled).item() == pytest.approx(7 * weighted, rel=1e-5)


def test_every_document_is_in_one_batch_of_one_step():
    tokenizer = pretraining.build_tokenizer(0, 50)
    steps = pretraining.pool_steps(TINY, tokenizer, 1)
    assert sum(len(batch.tokens) for batches in steps for batch in batches) == TINY.pool_size
    assert {len(batches) for batches in steps} <= {TINY.batches_per_step - 1, *range(4, 6)}


def test_a_steps_batches_differ_in_length():
    """Of a pool large enough; with one batch a step, the control, they can't."""
    settings = dataclasses.replace(TINY, pool_size=512)
    tokenizer = pretraining.build_tokenizer(0, 50)

    def mean_number_of_lengths(settings: PretrainingSettings) -> float:
        steps = pretraining.pool_steps(settings, tokenizer, 1)
        return sum(len({batch.tokens.shape[1] for batch in batches}) for batches in steps) / len(steps)

    assert mean_number_of_lengths(settings) > 3
    assert mean_number_of_lengths(dataclasses.replace(settings, batches_per_step=1)) == 1


def test_a_step_is_on_the_mean_over_all_its_batches():
    """However the documents are dealt into batches: the loss of two batches is that of one of both."""
    tokenizer = pretraining.build_tokenizer(0, 50)
    (first, *_), *_ = pretraining.pool_steps(dataclasses.replace(TINY, tokens_per_batch=1600), tokenizer, 0)
    parts = [Batch(first.tokens[rows], first.weights[rows]) for rows in (slice(0, 2), slice(2, None))]

    def loss(batches: list[Batch]) -> float:
        model = pretraining.build_model(TINY, tokenizer)
        model.model.embed_tokens.weight.data *= 10  # so that losses differ from document to document
        return pretraining._train_step(model, pretraining._Optimizers(model, 1e-3), batches, 1.0, 0)

    assert loss(parts) == pytest.approx(loss([first]), rel=5e-3)  # bfloat16
    assert loss(parts[:1]) != pytest.approx(loss([first]), rel=5e-3)


def test_the_learning_rate_rises_stays_and_falls():
    settings = PretrainingSettings(steps=1000, warmup_steps=50)
    factors = [pretraining.learning_rate_factor(step, settings) for step in (0, 49, 399, 700, 999)]
    assert factors == pytest.approx([0.02, 1.0, 1.0, 0.505, 0.01165], abs=1e-3)
