from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cst.errors import DataError
from cst.evaluation.capability import CapabilityAnswer, capability_answers, capability_scores
from cst.evaluation.intervals import wilson
from cst.models.rendering import TokenSequence
from cst.records import MultipleChoiceItem

END = 3


class ByteRenderer:
    """Messages as bytes, offset past the control tokens; the response ends with END."""

    pad_token_id = 0

    def example(self, messages, response: str) -> TokenSequence:
        prompt = (1, *(4 + byte for message in messages for byte in (message.role[0] + message.content).encode()), 2)
        return TokenSequence((*prompt, *(4 + byte for byte in response.encode()), END), len(prompt))


@pytest.fixture(scope="module")
def loaded():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.4,
    )
    return SimpleNamespace(model=LlamaForCausalLM(config).eval(), renderer=ByteRenderer())


ITEMS = [
    MultipleChoiceItem(
        id=f"{name}{i}", set=name, question="?" * (1 + 5 * i), choices=("a", "bcd", "ef", "x" * (i + 1)), answer=i % 4
    )
    for name in ("sums", "colours")
    for i in range(5)
]


def by_hand(loaded, item: MultipleChoiceItem, choice: str, system_prompt: str | None) -> float:
    """One choice at a time, softmax in NumPy float64."""
    roles = [("system", system_prompt)] if system_prompt else []
    messages = [SimpleNamespace(role=role, content=text) for role, text in [*roles, ("user", item.question)]]
    sequence = loaded.renderer.example(messages, choice)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([sequence.tokens])).logits[0].double().numpy()
    logps = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    positions = range(sequence.response_start, len(sequence.tokens))
    return sum(logps[t - 1, sequence.tokens[t]] for t in positions)


@pytest.mark.parametrize("system_prompt", [None, "Hm."])
def test_logps_are_those_of_each_choice_alone(loaded, system_prompt) -> None:
    answers = capability_answers(ITEMS, loaded, model_name="base", system_prompt=system_prompt, batch_size=7)
    for item, answer in zip(ITEMS, answers, strict=True):
        expected = [by_hand(loaded, item, choice, system_prompt) for choice in item.choices]
        assert answer.logps == pytest.approx(expected, abs=1e-4)
        assert answer.is_correct == (int(np.argmax(expected)) == item.answer)
        assert answer.bytes == tuple(len(choice) for choice in item.choices)


def test_the_batch_size_changes_nothing(loaded) -> None:
    one, many = (capability_answers(ITEMS, loaded, model_name="base", batch_size=size) for size in (1, 40))
    assert all(a.logps == pytest.approx(b.logps, abs=1e-5) for a, b in zip(one, many, strict=True))


def test_a_question_that_does_not_fit_is_named(loaded) -> None:
    long = MultipleChoiceItem(id="long", set="s", question="?" * 70, choices=("a", "b"), answer=0)
    with pytest.raises(DataError, match=r"'long' takes 75 tokens and the model reads 64"):
        capability_answers([long], loaded, model_name="base")


def made(model: str, i: int, *, correct: bool, set: str = "s") -> CapabilityAnswer:
    return CapabilityAnswer(
        item_id=f"{set}{i}",
        set=set,
        model=model,
        configuration="none",
        system_prompt=None,
        answer=0,
        logps=(-1.0, -2.0) if correct else (-2.0, -1.0),
        bytes=(1, 1),
    )


def test_length_normalisation_divides_by_bytes() -> None:
    answer = made("base", 0, correct=False).model_copy(update={"bytes": (4, 1)})
    assert (answer.is_correct, answer.is_correct_normalised) == (False, True)


def test_scores_carry_interval_and_paired_change() -> None:
    answers = [made("base", i, correct=i < 60) for i in range(100)]
    answers += [made("cst", i, correct=3 <= i < 64) for i in range(100)]
    base, cst = capability_scores(answers)
    assert (base.correct, base.n, base.change) == (60, 100, None)
    assert (cst.low, cst.high) == (wilson(61, 100).low, wilson(61, 100).high)
    change = cst.change
    assert change is not None
    assert (change.against, change.only_model, change.only_against) == ("base", 4, 3)
    assert change.difference == pytest.approx(0.01)
    assert change.low < 0 < change.high
    assert change.p_value == 1.0


def test_sets_are_apart_and_need_the_same_items() -> None:
    answers = [made(model, 0, correct=True, set=name) for model in ("base", "cst") for name in ("s", "t")]
    assert [(s.model, s.set) for s in capability_scores(answers)] == [
        (model, name) for model in ("base", "cst") for name in ("s", "t")
    ]
    with pytest.raises(DataError, match="different items of set 's'"):
        capability_scores([*answers, made("cst", 9, correct=True)])
