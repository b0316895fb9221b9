"""What callers give becomes conversations: several turns, a string is one, and what is no text is named."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from chat.loopback import Body, Loopback, Sent, Server, as_json, moderation_score, refusal
from cst.annexes.safety_tuned_llamas import (
    AbsoluteHarmfulnessPredictor,
    ContentModeration,
    ConversationBuilder,
    conversations,
    texts_of,
)
from cst.errors import DataError, EndpointError, ModelError, RecipeError
from cst.recipe.judges import ModerationSettings
from models.tiny_classifiers import KINDS, Kind, classifier_folder

BUILD = ConversationBuilder().build


def contents(user_texts, assistant_texts) -> list[list[tuple[str, str]]]:
    return [[(turn.role, turn.content) for turn in talk] for talk in conversations(user_texts, assistant_texts)]


def test_a_conversation_is_its_exchanges_one_after_another() -> None:
    assert BUILD("How are you?", "Well.") == "\n\nHuman: How are you?\n\nAssistant: Well."
    assert BUILD(["Hi.", "And now?"], ["Hello.", "Tea."]) == BUILD("Hi.", "Hello.") + BUILD("And now?", "Tea.")


def test_braces_in_a_text_stay_what_they_are() -> None:
    assert BUILD("{answer}", "{prompt}") == "\n\nHuman: {answer}\n\nAssistant: {prompt}"


def test_each_item_is_a_conversation_of_one_turn_or_of_several() -> None:
    assert contents(["Hi.", ["a?", "b?"]], ["Hello.", ["A.", "B."]]) == [
        [("user", "Hi."), ("assistant", "Hello.")],
        [("user", "a?"), ("assistant", "A."), ("user", "b?"), ("assistant", "B.")],
    ]


def test_a_string_is_one_turn_and_not_its_letters() -> None:
    assert contents("Hi", "Yo") == contents(["Hi"], ["Yo"]) == [[("user", "Hi"), ("assistant", "Yo")]]
    assert len(conversations(list("Hi"), list("Yo"))) == 2


@pytest.mark.parametrize("listed", [tuple, iter, np.array])
def test_any_ordered_collection_of_texts_will_do(listed) -> None:
    assert texts_of(listed(["b", "a"]), "texts") == ["b", "a"]


@pytest.mark.parametrize(
    ("user_texts", "assistant_texts", "says"),
    [
        (["a", "b"], ["c"], "user_texts has 2 items, assistant_texts has 1. Give an answer"),
        (["x", ["a", "b"]], ["y", "c"], r"user_texts\[1\] has 2 items, assistant_texts\[1\] has 1"),
        ([], [], "user_texts is empty"),
        (["a"], [[]], r"assistant_texts\[0\] is empty"),
        (None, ["a"], "user_texts is NoneType, not text or a list of texts"),
        (["a", "b"], ["c", 3], r"assistant_texts\[1\] is int, not text"),
        ([["a", "b"]], [["c", None]], r"assistant_texts\[0\]\[1\] is NoneType, not text: 'None'"),
        ({"a": "b"}, ["c"], "user_texts is dict"),
        ({"a", "b"}, ["c", "d"], "user_texts is set"),
        (b"ab", ["c"], "user_texts is bytes"),
    ],
)
def test_what_is_no_conversation_is_refused_by_its_place(user_texts, assistant_texts, says) -> None:
    with pytest.raises(DataError, match=says):
        conversations(user_texts, assistant_texts)


@pytest.mark.parametrize(("user_texts", "assistant_texts"), [(["a", "b"], "c"), ([], []), ([["a"]], ["b"])])
def test_the_builder_refuses_the_same(user_texts, assistant_texts) -> None:
    with pytest.raises(DataError):
        BUILD(user_texts, assistant_texts)


KEY = "sk-planted-0123456789abcdef"
MESSAGES = [f"A {'storm' if n % 3 == 0 else 'calm'} came on day {n}." for n in range(60)]
QUICK = ModerationSettings(kind="moderation", first_wait_seconds=0.002, retries=30, inputs_per_request=3)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("OPENAI_API_KEY", "OPEN_AI_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPEN_AI_KEY", KEY)
    yield monkeypatch


def scores_of(messages: list[str]) -> list[dict[str, float]]:
    """What the loopback server says of them; it doesn't know the category `illicit`."""
    return [{"violence": moderation_score(message), "harassment": 0.0} for message in messages]


def test_every_message_is_scored_once_in_order_though_half_of_the_calls_fail(environment) -> None:
    server = Server(failures=0.5, seed=22)
    with Loopback(server) as url:
        environment.setenv("OPENAI_BASE_URL", url)
        scores = ContentModeration(QUICK).content_moderation(MESSAGES)

    assert scores == scores_of(MESSAGES)
    assert {"rate_limited_for_a_moment", "server_error", "cut_off", "broken_json"} <= server.ways.keys()
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 20


def test_the_key_and_the_address_are_all_that_it_needs(environment) -> None:
    server = Server()
    with Loopback(server) as url:
        environment.setenv("OPENAI_BASE_URL", url)
        scores = ContentModeration().content_moderation(MESSAGES)

    assert scores == scores_of(MESSAGES)
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


def test_it_waits_for_as_long_as_the_server_asks(environment) -> None:
    """The first call is refused for a second; without the header, the same refusal is asked again at once."""

    def seconds(**headers: str) -> float:
        def once(good: Body) -> Sent:
            return refusal(429, "rate_limit_exceeded", **headers) if server.asked.total() == 1 else as_json(good)

        server = Server(failing=once)
        with Loopback(server) as url:
            environment.setenv("OPENAI_BASE_URL", url)
            started = time.monotonic()
            assert ContentModeration(QUICK).content_moderation(MESSAGES[:3]) == scores_of(MESSAGES[:3])
            assert server.asked.total() == 2
            return time.monotonic() - started

    assert seconds(**{"Retry-After": "1"}) >= 1 > seconds()


def test_equal_messages_are_sent_once_and_one_message_is_no_list_of_letters(environment) -> None:
    server = Server()
    with Loopback(server) as url:
        environment.setenv("OPENAI_BASE_URL", url)
        moderation = ContentModeration(QUICK)
        assert moderation.content_moderation([*MESSAGES[:2], MESSAGES[0]]) == scores_of([*MESSAGES[:2], MESSAGES[0]])
        assert [body["input"] for body in server.bodies] == [MESSAGES[:2]]
        assert moderation.content_moderation(MESSAGES[4]) == [moderation.get_hate(MESSAGES[4])]

    assert [body["input"] for body in server.bodies[1:]] == [[MESSAGES[4]]] * 2


def test_a_blank_message_is_not_sent_and_has_no_scores(environment, caplog) -> None:
    server = Server()
    with Loopback(server) as url:
        environment.setenv("OPENAI_BASE_URL", url)
        scores = ContentModeration(QUICK).content_moderation([MESSAGES[0], "", " \n", MESSAGES[1]])

    assert scores == [*scores_of(MESSAGES[:1]), {}, {}, *scores_of(MESSAGES[1:2])]
    assert [body["input"] for body in server.bodies] == [MESSAGES[:2]]
    assert "2 of 4 messages are blank" in caplog.text


def test_a_journal_keeps_what_was_scored_before_a_call_failed_for_good(environment, tmp_path: Path) -> None:
    def breaking(good: Body) -> Sent:
        return refusal(401, "invalid_api_key") if len(server.bodies) > 5 else as_json(good)

    one_at_a_time = QUICK.model_copy(update={"in_flight": 1})
    moderation = {kept: ContentModeration(one_at_a_time, journal=kept) for kept in (tmp_path / "scores.sqlite", None)}
    found: dict[Path | None, int] = {}
    for kept, asked in moderation.items():
        server = Server(failing=breaking)
        with Loopback(server) as url:
            environment.setenv("OPENAI_BASE_URL", url)
            with pytest.raises(EndpointError, match="invalid_api_key"):
                asked.content_moderation(MESSAGES)
        sound = Server()
        with Loopback(sound) as url:
            environment.setenv("OPENAI_BASE_URL", url)
            assert asked.content_moderation(MESSAGES) == scores_of(MESSAGES)
        found[kept] = sound.asked.total()

    assert found == {tmp_path / "scores.sqlite": 15, None: 20}


def test_without_a_key_there_is_no_moderation(environment) -> None:
    environment.delenv("OPEN_AI_KEY")
    with pytest.raises(RecipeError, match="OPENAI_API_KEY or OPEN_AI_KEY, which is not set"):
        ContentModeration()


@pytest.mark.parametrize(("messages", "says"), [([], "messages is empty"), (["a", 3], r"messages\[1\] is int")])
def test_what_is_no_message_is_refused_before_anything_is_sent(messages, says: str) -> None:
    with pytest.raises(DataError, match=says):
        ContentModeration().content_moderation(messages)


QUESTIONS = [f"How do I bake bread number {n}?" for n in range(11)]
ANSWERS = ["Mix flour and water. " * (1 + n * 7 % 4) for n in range(11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier_folder(tmp_path_factory.mktemp("reward") / "tiny", "deberta")


@pytest.fixture(scope="module")
def predictor(folder: Path) -> AbsoluteHarmfulnessPredictor:
    return AbsoluteHarmfulnessPredictor(device="cpu", model_path=folder)


def by_hand(folder: Path, texts: list[str]) -> list[float]:
    """One plain call of transformers a text, without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return [model(**tokenizer(text, return_tensors="pt")).logits[0, 0].item() for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_raw_logits_of_a_call_by_hand_in_order(kind: Kind, tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", kind)
    expected = by_hand(
        folder, [f"\n\nHuman: {asked}\n\nAssistant: {said}" for asked, said in zip(QUESTIONS, ANSWERS, strict=True)]
    )
    scores = AbsoluteHarmfulnessPredictor("redteam", "cpu", model_path=folder).predict(QUESTIONS, ANSWERS)

    assert scores == pytest.approx(expected, abs=1e-6)
    assert {type(score) for score in scores} == {float}
    assert len({round(score, 4) for score in expected}) == len(expected)


def test_several_turns_are_read_as_the_builder_writes_them(folder, predictor) -> None:
    users, answers = ["Hello.", "What is tea?"], ["Hello to you.", "Leaves in water."]
    several, last = predictor.predict([users, users[1]], [answers, answers[1]])

    assert [several] == pytest.approx(by_hand(folder, [ConversationBuilder().build(users, answers)]), abs=1e-6)
    assert several != pytest.approx(last, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 4096])
def test_batches_of_any_size_give_the_same_scores(batch_size: int, predictor) -> None:
    assert predictor.predict(QUESTIONS, ANSWERS, batch_size) == pytest.approx(
        predictor.predict(QUESTIONS, ANSWERS), abs=1e-5
    )


def test_two_strings_are_one_conversation(predictor) -> None:
    assert predictor.predict(QUESTIONS[0], ANSWERS[0]) == predictor.predict(QUESTIONS[:1], ANSWERS[:1])


def test_a_long_question_is_cut_and_never_the_answer(folder, predictor, caplog) -> None:
    """The tokenizer's own truncation, as a control, reads the same of two different answers: nothing."""
    long = "word " * 90
    scores = predictor.predict([long, long, QUESTIONS[0]], ["Yes.", "No, never.", "Bake."], max_length=64)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    told = [ConversationBuilder().build(long, answer) for answer in ("Yes.", "No, never.")]
    cut_by_the_tokenizer = [tokenizer(text, truncation=True, max_length=64)["input_ids"] for text in told]

    assert cut_by_the_tokenizer[0] == cut_by_the_tokenizer[1]
    assert scores[0] != pytest.approx(scores[1], abs=1e-4)
    assert "of 3 rows, 2 are over 64 tokens" in caplog.text
    assert "0 of them also without the end of the answer" in caplog.text


def test_what_no_cut_row_loses_is_read_whole(folder, predictor, caplog) -> None:
    """A row of just as many tokens as asked for is the whole row; of one fewer, it is another."""
    text = ConversationBuilder().build(QUESTIONS[0], ANSWERS[0])
    length = len(AutoTokenizer.from_pretrained(folder)(text)["input_ids"])
    whole = predictor.predict(QUESTIONS[0], ANSWERS[0], max_length=length)
    assert whole == pytest.approx(by_hand(folder, [text]), abs=1e-6)
    assert caplog.text == ""

    assert predictor.predict(QUESTIONS[0], ANSWERS[0], max_length=length - 1) != pytest.approx(whole, abs=1e-4)
    assert f"1 are over {length - 1} tokens" in caplog.text


def test_the_models_own_limit_stands_under_max_length(predictor, caplog) -> None:
    predictor.predict("word " * 600, "Yes.")

    assert "of 1 rows, 1 are over 128 tokens" in caplog.text


@pytest.mark.parametrize(("shows", "told"), [(True, "judge with redteam-osst@"), (False, "")])
def test_progress_is_shown_unless_it_is_not_wanted(shows: bool, told: str, predictor, capsys) -> None:
    predictor.predict(QUESTIONS, ANSWERS, show_progress=shows)
    err = capsys.readouterr().err

    assert err.startswith(told)
    assert bool(err) is shows


@pytest.mark.parametrize("sizes", [{"batch_size": 0}, {"max_length": 0}, {"batch_size": 10_000}])
def test_sizes_that_cannot_be_are_refused(sizes: dict[str, int], predictor) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes))):
        predictor.predict(QUESTIONS, ANSWERS, **sizes)


def test_lists_that_do_not_fit_are_refused(predictor) -> None:
    with pytest.raises(DataError, match="user_texts has 11 items, assistant_texts has 10"):
        predictor.predict(QUESTIONS, ANSWERS[1:])


def test_an_unknown_set_up_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ModelError, match="setup_name='redtem' is none of redteam, redteam-osst"):
        AbsoluteHarmfulnessPredictor("redtem")


def test_a_device_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"device='cuda:99' can't be used here"):
        AbsoluteHarmfulnessPredictor(device="cuda:99", model_path=folder)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"The reward model of redteam can't be used.*in pickle files only"):
        AbsoluteHarmfulnessPredictor("redteam", model_path=folder)


def asked_offline(hub: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The scores of two conversations, as JSON, in a process that knows the hub's cache alone."""
    code = (
        "import json, sys\nfrom cst.evals import AbsoluteHarmfulnessPredictor\n"
        "predictor = AbsoluteHarmfulnessPredictor(*sys.argv[1:])\n"
        f"print(json.dumps(predictor.predict({QUESTIONS[:2]}, {ANSWERS[:2]}, show_progress=False)))"
    )
    known = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(hub)}
    return subprocess.run([sys.executable, "-c", code, *words], env=known, capture_output=True, text=True)


def cached(hub: Path, setup: str) -> Path:
    """A reward model where `hf download` would have put that of a set-up."""
    home = hub / "hub" / f"models--safepaca--absolute-harmfulness-predictor-{setup}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    return classifier_folder(home / "snapshots" / ("a" * 40), "deberta")


def test_a_set_up_that_was_fetched_before_needs_no_network(tmp_path: Path, predictor) -> None:
    cached(tmp_path, "redteam-osst")
    done = asked_offline(tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(predictor.predict(QUESTIONS[:2], ANSWERS[:2]), abs=1e-6)


def test_redteam_with_its_pickle_is_refused_and_the_other_recommended(tmp_path: Path) -> None:
    folder = cached(tmp_path, "redteam")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = asked_offline(tmp_path, "redteam").stderr.splitlines()[-1]

    assert "pickle files only" in message
    assert "Use setup_name='redteam-osst', which its authors recommend" in message
