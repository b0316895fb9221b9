"""None"""

import math
from pathlib import Path
from random import Random

import pytest
import torch

from cst.chat.base import ChatModel, ChatReply, ChatRequest
from cst.chat.journal import Journal
from cst.chat.journalled import Journalled
from cst.chat.local import LabelChat, LocalChat
from cst.errors import ModelError
from cst.judges import Candidate
from cst.judges.chat import ChatJudge
from cst.judges.rubric import Rubric
from cst.models.adapters import add_lora, save_adapter
from cst.models.loading import LoadedModel, load_model
from cst.records import Prompt, Sampling, Side
from cst.store import fingerprint
from models.families import conversation
from models.tiny import model_folder

GREEDY = Sampling(max_new_tokens=10)
WARM = Sampling(max_new_tokens=10, temperature=1.0)
BEAMS = Sampling(max_new_tokens=10, num_beams=3)
REQUESTS = [
    ChatRequest(id=f"r{i}", messages=tuple(conversation("Be kind." if i % 3 else None, "bake " * (1 + i * 5 % 9))))
    for i in range(11)
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(model_folder(tmp_path_factory.mktemp("model") / "tiny")), device="cpu")


@pytest.fixture
def chat(loaded: LoadedModel) -> LocalChat:
    return LocalChat(loaded, name="tiny", batch_size=4)


def all_of(chat: ChatModel, requests: list[ChatRequest], sampling: Sampling) -> dict[str, ChatReply]:
    replies: dict[str, ChatReply] = {}
    for batch in chat.plan(requests):
        answers = chat.answer([requests[i] for i in batch], sampling)
        replies |= {requests[i].id: answer for i, answer in zip(batch, answers, strict=True)}
    return replies


def test_a_plan_holds_each_request_once_the_longest_first(chat: LocalChat) -> None:
    plan = chat.plan(REQUESTS)
    assert sorted(i for batch in plan for i in batch) == list(range(len(REQUESTS)))
    assert [len(batch) for batch in plan] == [4, 4, 3]
    lengths = [sum(len(message.content) for message in REQUESTS[i].messages) for batch in plan for i in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert chat.plan(REQUESTS) == plan
    assert chat.plan([]) == []
    assert chat.answer([], GREEDY) == []


@pytest.mark.parametrize("sampling", [GREEDY, WARM, BEAMS])
def test_a_batch_answers_as_one_by_one(chat: LocalChat, sampling: Sampling) -> None:
    together = all_of(chat, REQUESTS, sampling)
    assert together == {request.id: chat.answer([request], sampling)[0] for request in REQUESTS}
    assert len({reply.text for reply in together.values()}) > 6


def test_answers_do_not_depend_on_order_neighbours_or_global_random_numbers(chat: LocalChat) -> None:
    first = all_of(chat, REQUESTS, WARM)
    shuffled = list(REQUESTS)
    Random(0).shuffle(shuffled)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert all_of(chat, shuffled, WARM) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert all_of(chat, REQUESTS[3:], WARM).items() <= first.items()


def test_seeds_ids_and_temperature_change_the_draws(chat: LocalChat) -> None:
    first = all_of(chat, REQUESTS, WARM)
    reseeded = all_of(chat, REQUESTS, WARM.model_copy(update={"seed": 1}))
    renamed = chat.answer([REQUESTS[0].model_copy(update={"id": "other"})], WARM)[0]
    assert sum(first[name].text != reseeded[name].text for name in first) > 8
    assert renamed.text != first["r0"].text
    assert all_of(chat, REQUESTS, WARM.model_copy(update={"top_p": 1e-9})) == all_of(chat, REQUESTS, GREEDY)


def test_top_k_of_one_is_greedy(chat: LocalChat) -> None:
    assert all_of(chat, REQUESTS, WARM.model_copy(update={"top_k": 1})) == all_of(chat, REQUESTS, GREEDY)
    assert all_of(chat, REQUESTS, WARM.model_copy(update={"top_k": 9})) != all_of(chat, REQUESTS, WARM)


def test_beams_answer_otherwise_than_greedily(chat: LocalChat) -> None:
    assert all_of(chat, REQUESTS, BEAMS) != all_of(chat, REQUESTS, GREEDY)


def test_drawn_beams_are_decided_by_their_batch(chat: LocalChat) -> None:
    drawn = BEAMS.model_copy(update={"temperature": 1.0})
    first = chat.answer(REQUESTS[:4], drawn)
    torch.manual_seed(5)
    assert chat.answer(REQUESTS[:4], drawn) == first
    assert chat.answer(REQUESTS[:4], drawn.model_copy(update={"seed": 1})) != first


def test_settings_at_their_defaults_are_in_no_journal_key(chat: LocalChat, tmp_path: Path) -> None:
    """What was paid for before there were any is found again."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        key = Journalled(chat, journal).key
        old = {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 10, "seed": 0}
        assert key(REQUESTS, GREEDY) == fingerprint(chat.fingerprint, old, REQUESTS)
        others = [GREEDY.model_copy(update=change) for change in ({"top_k": 3}, {"num_beams": 2})]
        assert len({key(REQUESTS, sampling) for sampling in (GREEDY, *others)}) == 3


def test_a_prefix_is_in_the_reply(chat: LocalChat) -> None:
    request = REQUESTS[1].model_copy(update={"prefix": "First, mix"})
    reply, plain = chat.answer([request, REQUESTS[1]], GREEDY)
    assert reply.text.startswith("First, mix")
    assert len(reply.text) > len("First, mix")
    assert reply.prompt_tokens > plain.prompt_tokens
    assert reply.completion_tokens == plain.completion_tokens == 10


def test_the_finish_reason_tells_an_end_from_a_cut(loaded: LoadedModel) -> None:
    end, tiny = loaded.renderer.end_token_id, LocalChat(loaded, name="tiny")
    rows = tiny.answer(REQUESTS, Sampling(max_new_tokens=60, temperature=4.0))
    assert {row.finish_reason for row in rows} == {"stop", "length"}
    for row in rows:
        assert (row.finish_reason == "stop") == (row.completion_tokens < 60)
        assert "<|end|>" not in row.text
    assert end in loaded.renderer.end_token_ids


def test_an_answer_fills_the_models_positions_and_no_more(chat: LocalChat) -> None:
    tokens = chat.answer([REQUESTS[0]], GREEDY)[0].prompt_tokens
    reply = chat.answer([REQUESTS[0]], Sampling(max_new_tokens=1000))[0]
    assert (reply.completion_tokens, reply.finish_reason) == (96 - tokens, "length")


def test_a_prompt_longer_than_the_model_names_its_request(chat: LocalChat) -> None:
    long = ChatRequest(id="the long one", messages=tuple(conversation(None, "bake " * 200)))
    with pytest.raises(ModelError, match=r"request 'the long one' has \d+ tokens, tiny takes 96"):
        chat.answer([REQUESTS[0], long], GREEDY)


def test_beams_fill_the_models_positions_and_no_more(chat: LocalChat) -> None:
    requests = REQUESTS[:3]
    tokens = [reply.prompt_tokens for reply in chat.answer(requests, GREEDY)]
    replies = chat.answer(requests, Sampling(max_new_tokens=1000, num_beams=2))
    assert len(set(tokens)) > 1
    for reply in replies:
        assert (reply.completion_tokens == 96 - reply.prompt_tokens) == (reply.finish_reason == "length")
    assert replies == [chat.answer([request], Sampling(max_new_tokens=1000, num_beams=2))[0] for request in requests]


def test_a_broken_model_does_not_babble(tmp_path: Path) -> None:
    broken = load_model(str(model_folder(tmp_path / "tiny")), device="cpu")
    with torch.no_grad():
        broken.model.model.norm.weight.fill_(torch.nan)
    for sampling in (GREEDY, BEAMS):
        with pytest.raises(ModelError, match=r"NaN instead of logits for request 'r0' at token 0"):
            LocalChat(broken, name="broken").answer(REQUESTS, sampling)


def test_the_fingerprint_tells_what_decides_an_answer(loaded: LoadedModel, tmp_path: Path) -> None:
    same = LocalChat(loaded, name="another name").fingerprint
    assert LocalChat(loaded, name="tiny").fingerprint == same
    others = {LocalChat(loaded, name="tiny", batch_size=3).fingerprint}
    for settings in ({"dtype": "bfloat16"}, {"system_policy": "fold_into_user"}):
        others.add(LocalChat(load_model(loaded.path, device="cpu", **settings), name="tiny").fingerprint)
    others.add(LocalChat(load_model(str(model_folder(tmp_path / "tiny", seed=1))), name="tiny").fingerprint)
    assert len(others | {same}) == 5


def test_it_is_a_chat_model(chat: LocalChat) -> None:
    model: ChatModel = chat
    assert model.name == "tiny"


def test_an_adapter_answers_and_is_in_the_fingerprint(loaded: LoadedModel, tmp_path: Path) -> None:
    base = load_model(loaded.path, device="cpu")
    wrapped = add_lora(base.model, r=2, alpha=4, dropout=0.0, target_modules="all-linear", seed=0)
    before = LocalChat(loaded, name="tiny")
    save_adapter(wrapped, tmp_path / "same", base=loaded.path)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    save_adapter(wrapped, tmp_path / "other", base=loaded.path)
    same, other = (
        LocalChat(load_model(loaded.path, device="cpu", adapter=tmp_path / name), name=name)
        for name in ("same", "other")
    )
    answers = [[reply.text for reply in chat.answer(REQUESTS, GREEDY)] for chat in (before, same, other)]
    assert answers[0] == answers[1] != answers[2]
    assert len({chat.fingerprint for chat in (before, same, other)}) == 3
    merged = load_model(loaded.path, device="cpu", adapter=tmp_path / "other", merge_adapter=True)
    assert type(merged.model) is type(loaded.model)
    chat = LocalChat(merged, name="merged")
    assert [reply.text for reply in chat.answer(REQUESTS, GREEDY)] == answers[2]
    assert chat.fingerprint != other.fingerprint  # low bits differ


LABELS = ("[[0]]", "[[1]]", "yes, by all means")
TO_LABEL = [
    ChatRequest(
        id=f"r{i}", messages=tuple(conversation("Be kind.", "bake " * (1 + i * 5 % 9))), prefix="So: " * (i % 2)
    )
    for i in range(7)
]


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
    for unit in chat.plan(TO_LABEL):
        requests = [TO_LABEL[index] for index in unit]
        for request, reply in zip(requests, chat.answer(requests, Sampling()), strict=True):
            expected = [by_hand(loaded, request, label) for label in LABELS]
            assert reply.logprobs == pytest.approx(expected, abs=1e-4)
            assert reply.text == request.prefix + LABELS[expected.index(max(expected))]
            assert reply.prompt_tokens == len(loaded.renderer.prompt(request.messages))


def test_the_prefix_is_what_labels_are_weighed_behind(loaded):
    """The control: another prefix gives other odds."""
    chat = LabelChat(loaded, name="tiny", labels=LABELS)
    requests = [TO_LABEL[0].model_copy(update={"prefix": prefix}) for prefix in ("", "bake ")]
    odds = [reply.logprobs[0] - reply.logprobs[1] for reply in chat.answer(requests, Sampling())]
    assert abs(odds[0] - odds[1]) > 1e-3


def test_batches_hold_as_many_labels_as_are_scored_at_once(loaded):
    assert [len(unit) for unit in LabelChat(loaded, name="x", labels=LABELS, batch_size=6).plan(TO_LABEL)] == [
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
        LabelChat(broken, name="tiny", labels=LABELS).answer(TO_LABEL[:1], Sampling())


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
