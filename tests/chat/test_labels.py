import math

import pytest
import torch

from cst.chat.base import ChatRequest
from cst.chat.journalled import Journalled
from cst.chat.labels import LabelChat
from cst.chat.local import LocalChat
from cst.errors import ModelError
from cst.journal import Journal
from cst.judges import Candidate
from cst.judges.chat import ChatJudge
from cst.judges.rubric import Rubric
from cst.models.loading import LoadedModel, load_model
from cst.records import Prompt, Sampling, Side
from models.families import conversation
from models.tiny import model_folder

LABELS = ("[[0]]", "[[1]]", "yes, by all means")
REQUESTS = [
    ChatRequest(
        id=f"r{i}", messages=tuple(conversation("Be kind.", "bake " * (1 + i * 5 % 9))), prefix="So: " * (i % 2)
    )
    for i in range(7)
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(model_folder(tmp_path_factory.mktemp("model") / "tiny")), device="cpu")


def by_hand(loaded: LoadedModel, request: ChatRequest, label: str) -> float:
    """One row, without padding, softmax in float64."""
    prompt = loaded.renderer.prompt(request.messages)
    tokens = list(loaded.renderer.example(request.messages, request.prefix + label, ended=False).tokens)
    with torch.no_grad():
        logps = loaded.model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
    return sum(float(logps[t - 1, tokens[t]]) for t in range(len(prompt), len(tokens)))


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_each_label_has_its_log_prob_and_the_likeliest_is_said(loaded, batch_size):
    chat = LabelChat(loaded, name="tiny", labels=LABELS, batch_size=batch_size)
    for unit in chat.plan(REQUESTS):
        requests = [REQUESTS[index] for index in unit]
        for request, reply in zip(requests, chat.answer(requests, Sampling()), strict=True):
            expected = [by_hand(loaded, request, label) for label in LABELS]
            assert reply.logprobs == pytest.approx(expected, abs=1e-4)
            assert reply.text == request.prefix + LABELS[expected.index(max(expected))]
            assert reply.prompt_tokens == len(loaded.renderer.prompt(request.messages))


def test_the_prefix_is_what_labels_are_weighed_behind(loaded):
    """The control: another prefix gives other odds."""
    chat = LabelChat(loaded, name="tiny", labels=LABELS)
    requests = [REQUESTS[0].model_copy(update={"prefix": prefix}) for prefix in ("", "bake ")]
    odds = [reply.logprobs[0] - reply.logprobs[1] for reply in chat.answer(requests, Sampling())]
    assert abs(odds[0] - odds[1]) > 1e-3


def test_batches_hold_as_many_labels_as_are_scored_at_once(loaded):
    assert [len(unit) for unit in LabelChat(loaded, name="x", labels=LABELS, batch_size=6).plan(REQUESTS)] == [
        2,
        2,
        2,
        1,
    ]
    assert LabelChat(loaded, name="x", labels=LABELS).answer([], Sampling()) == []


def test_labels_belong_to_the_fingerprint(loaded):
    prints = {
        LabelChat(loaded, name="tiny", labels=labels).fingerprint for labels in (LABELS, LABELS[::-1], ("a", "b"))
    }
    assert len({*prints, LocalChat(loaded, name="tiny").fingerprint}) == 4


def test_a_question_that_is_too_long_is_named(loaded):
    long = ChatRequest(id="long", messages=tuple(conversation(None, "bake " * 100)))
    with pytest.raises(
        ModelError, match=r"Request 'long' has \d+ tokens with the label '\[\[0\]\]', and tiny reads 96"
    ):
        LabelChat(loaded, name="tiny", labels=LABELS).answer([long], Sampling())


def test_a_broken_model_is_no_judge(tmp_path):
    broken = load_model(str(model_folder(tmp_path / "tiny")), device="cpu")
    with torch.no_grad():
        broken.model.get_input_embeddings().weight.fill_(math.nan)
    with pytest.raises(ModelError, match=r"gave .*nan.* as log-probs"):
        LabelChat(broken, name="tiny", labels=LABELS).answer(REQUESTS[:1], Sampling())


def test_a_judge_reads_the_logits_of_its_labels(loaded, tmp_path):
    rubric = Rubric(name="own", template="{answer} {nonce}", labels={"[[0]]": Side.ORIGINAL, "[[1]]": Side.REVISED})
    candidates = [Candidate(prompt=Prompt(id=f"p{i}", text="?", task="t"), text="bake " * i) for i in range(1, 6)]
    with Journal(tmp_path / "journal.sqlite") as journal:
        chat = Journalled(LabelChat(loaded, name="tiny", labels=list(rubric.labels)), journal)
        judge = ChatJudge("tiny", {"t": [rubric]}, lambda _: chat, read="logits")
        made = judge.opinions(candidates)
        assert judge.opinions(candidates) == made
        strict = ChatJudge("tiny", {"t": [rubric]}, lambda _: chat, read="logits", margin=0.999).opinions(candidates)
    for opinion in made:
        assert opinion.exhibits is (Side.REVISED if opinion.score > 0.5 else Side.ORIGINAL)
    assert len({opinion.score for opinion in made}) == 5
    assert [opinion.score for opinion in strict] == [opinion.score for opinion in made]
    assert {opinion.exhibits for opinion in strict} == {None}
