"""The endpoint against a server that fails in every way there is: what passes is asked again, what stays is refused."""

import json
import time
import traceback
from collections.abc import Iterator

import pytest

from chat.loopback import FINAL, ODD, PASSING, Body, Loopback, Sent, Server, as_json, choice, echo, is_whole, refusal
from chat.served import Served
from cst.chat.base import ChatModel, ChatRequest
from cst.chat.complete import complete
from cst.chat.endpoint import Endpoint
from cst.chat.endpoint_client import SENT_HEADERS
from cst.chat.endpoint_failures import LONGEST_QUOTE
from cst.chat.journalled import Journalled
from cst.chat.local import LocalChat
from cst.chat.scripted import ScriptedChat
from cst.errors import EndpointError, RecipeError
from cst.journal import Journal
from cst.models.loading import load_model
from cst.recipe.models import EndpointSettings
from cst.records import Message, Sampling
from models.families import conversation
from models.tiny import model_folder

REQUESTS = [
    ChatRequest(id=f"r{number}", messages=(Message(role="user", content=f"How is bread {number} baked?"),))
    for number in range(12)
]
SAMPLING = Sampling(temperature=0.5, max_new_tokens=20)
KEY = "sk-planted-0123456789abcdef"


def settings(*urls: str, **fields: object) -> EndpointSettings:
    quick = {"retries": 8, "first_wait_seconds": 0.002, "longest_wait_seconds": 0.02, "read_timeout_seconds": 5.0}
    return EndpointSettings.model_validate(
        {"kind": "endpoint", "base_urls": urls, "model": "loopback-1", **quick, **fields}
    )


def ask(chat: ChatModel, requests: list[ChatRequest] = REQUESTS) -> list[str]:
    return [reply.text for reply in complete(chat, requests, SAMPLING, description="ask")]


def failure_of(server: Server, **fields: object) -> EndpointError:
    with (
        Loopback(server) as url,
        Endpoint(settings(url, **fields), name="author") as endpoint,
        pytest.raises(EndpointError) as failure,
    ):
        ask(endpoint, REQUESTS[:1])
    return failure.value


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    return KEY


def test_answers_come_whole_and_in_order():
    server = Server(latency_seconds=0.01)
    with Loopback(server) as url, Endpoint(settings(url, in_flight=5), name="author") as endpoint:
        replies = complete(endpoint, REQUESTS, SAMPLING, description="ask")

    assert all(r.messages[0].content in reply.text for r, reply in zip(REQUESTS, replies, strict=True))
    assert all(is_whole(reply.text) and reply.model == "loopback-1" for reply in replies)
    assert 2 <= server.most_in_flight <= 5


def test_a_third_of_all_calls_may_fail_and_nothing_is_lost_double_or_partial(tmp_path):
    server = Server(failures=0.4, seed=5)
    requests = [request.model_copy(update={"id": f"{request.id}/{n}"}) for request in REQUESTS for n in range(25)]
    patient = {"retries": 40, "in_flight": 16}
    with (
        Loopback(server) as url,
        Endpoint(settings(url, **patient), name="author") as endpoint,
        Journal(tmp_path / "journal.sqlite") as journal,
    ):
        texts = ask(Journalled(endpoint, journal), requests)
        outcomes = [call.outcome for call in journal.calls()]

    assert len(server.ways) >= 20
    assert all(is_whole(text) and r.messages[0].content in text for r, text in zip(requests, texts, strict=True))
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == len(requests) == outcomes.count("answered")
    assert len(outcomes) == server.asked.total()


@pytest.mark.parametrize("way", PASSING)
def test_what_passes_is_asked_again_and_never_taken_for_an_answer(way):
    server = Server(failing=way)
    failure = failure_of(server, retries=2)

    assert server.asked.total() == 3
    assert not failure.is_final
    assert "author at http://127.0.0.1" in str(failure)
    assert "request 'r0'" in str(failure)


@pytest.mark.parametrize("way", FINAL)
def test_what_stays_is_refused_at_once(way):
    server = Server(failing=way)
    failure = failure_of(server)

    assert server.asked.total() == 1
    assert failure.is_final
    assert not failure.may_have_cost
    assert str(failure).count(".") >= 2


@pytest.mark.parametrize("way", ODD)
def test_what_is_endless_late_or_compressed_is_no_answer(way):
    failure = failure_of(Server(failing=way), retries=0, read_timeout_seconds=1.0)

    assert failure.kind == ("timed_out" if way == "hangs" else "unusable_answer"), str(failure)


@pytest.mark.parametrize("code", [["a"], {"b": 1}, 7, None, "x" * 5000])
def test_an_error_may_be_called_anything(code):
    error = {"error": {"message": code, "type": code, "code": code}}
    failure = failure_of(Server(failing=lambda _: as_json(error, 400)))

    assert failure.kind == "request_refused"
    assert len(str(failure)) < 600


def test_a_servers_endless_words_are_quoted_in_part():
    failure = failure_of(Server(failing=choice(finish_reason="x" * 100_000)), retries=0)

    assert "finish_reason 'xxx" in str(failure)
    assert len(str(failure)) < 600


def test_what_the_content_filter_refuses_is_an_answer_without_text():
    server = Server(failing=lambda _: refusal(400, "content_filter"))
    with Loopback(server) as url, Endpoint(settings(url), name="author") as endpoint:
        (reply,) = complete(endpoint, REQUESTS[:1], SAMPLING, description="ask")

    assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("", "content_filter", None)
    assert server.asked.total() == 1


def test_a_server_that_is_not_there_is_asked_for_again_and_then_named():
    with (
        Endpoint(settings("http://127.0.0.1:9/v1", retries=1), name="author") as endpoint,
        pytest.raises(EndpointError, match=r"author at http://127\.0\.0\.1:9/v1, .*Start the server") as failure,
    ):
        ask(endpoint, REQUESTS[:1])

    assert (failure.value.kind, failure.value.may_have_cost) == ("unreachable", False)


def test_calls_go_to_all_replicas_and_around_one_that_is_down():
    servers = [Server(latency_seconds=0.005), Server(latency_seconds=0.005)]
    many = [request.model_copy(update={"id": f"{request.id}/{n}"}) for request in REQUESTS for n in range(10)]
    with Loopback(servers[0]) as first, Loopback(servers[1]) as second:
        urls = [first, second, "http://127.0.0.1:9/v1"]
        with Endpoint(settings(*urls, in_flight=6, retries=20), name="author") as endpoint:
            assert all(is_whole(text) for text in ask(endpoint, many))

    assert all(len(server.answered) > len(many) / 4 for server in servers)


def test_calls_fall_to_what_a_server_takes_and_most_of_them_are_answered():
    server = Server(latency_seconds=0.01, most_at_once=4)
    many = [request.model_copy(update={"id": f"{request.id}/{n}"}) for request in REQUESTS for n in range(40)]
    with Loopback(server) as url, Endpoint(settings(url, in_flight=32, retries=60), name="author") as endpoint:
        assert all(is_whole(text) for text in ask(endpoint, many))

        assert endpoint.pace.in_flight <= 8
    assert server.ways["too_many_at_once"] < len(many)  # 28 calls at once that don't slow down: thousands


def test_a_server_that_asks_for_time_is_left_alone_for_it():
    """Of 32 calls at once, all are refused for a second: the number falls to one call, and that waits as well."""
    opens = time.monotonic() + 1.0

    def closed(good: Body) -> Sent:
        is_open = time.monotonic() >= opens
        return as_json(good) if is_open else refusal(429, "rate_limit_exceeded", **{"Retry-After": "1"})

    server = Server(failing=closed)
    many = [request.model_copy(update={"id": f"{request.id}/{n}"}) for request in REQUESTS for n in range(40)]
    with Loopback(server) as url, Endpoint(settings(url, in_flight=32), name="author") as endpoint:
        assert all(is_whole(text) for text in ask(endpoint, many))

    assert server.asked.total() < len(many) + 32 * 3


def test_a_work_list_does_not_run_through_servers_that_are_down():
    """Half a second without answers: rounds of four calls with growing pauses, and not the whole list."""
    opens = time.monotonic() + 0.5
    server = Server(failing=lambda good: as_json(good) if time.monotonic() >= opens else refusal(503, "overloaded"))
    many = [request.model_copy(update={"id": f"{request.id}/{n}"}) for request in REQUESTS for n in range(40)]
    waits = {"first_wait_seconds": 0.05, "longest_wait_seconds": 0.2}
    with Loopback(server) as url, Endpoint(settings(url, in_flight=4, **waits), name="author") as endpoint:
        assert all(is_whole(text) for text in ask(endpoint, many))

    assert len(many) < server.asked.total() < len(many) + 4 * 12


def test_a_server_of_ours_draws_what_the_model_draws_in_this_process(tmp_path):
    loaded = load_model(str(model_folder(tmp_path / "tiny")), device="cpu")
    local = LocalChat(loaded, name="tiny", batch_size=1)
    talks = [tuple(conversation("Be kind.", "bake " * (1 + n % 4))) for n in range(8)]
    requests = [ChatRequest(id=f"r{n}", messages=talk, prefix="First" * (n % 2)) for n, talk in enumerate(talks)]
    sampling = Sampling(temperature=1.0, max_new_tokens=10, seed=11)
    with (
        Loopback(Server(answer=Served(LocalChat(loaded, name="served")))) as url,
        Endpoint(settings(url, prefill="continue_final_message", in_flight=4), name="author") as endpoint,
    ):
        served = complete(endpoint, requests, sampling, description="served")
    own = complete(local, requests, sampling, description="own")

    assert [reply.model_copy(update={"model": None}) for reply in served] == own
    assert len({reply.text for reply in own}) > 4


def test_a_scripted_chat_can_stand_behind_the_server():
    scripted = ScriptedChat(lambda request: f"to {request.messages[0].content}", batch_size=1)
    with Loopback(Server(answer=Served(scripted))) as url, Endpoint(settings(url), name="author") as endpoint:
        assert ask(endpoint) == ask(ScriptedChat(lambda request: f"to {request.messages[0].content}"))


def test_the_fingerprint_is_that_of_the_model_and_not_of_its_servers():
    with (
        Endpoint(settings("http://a/v1"), name="x") as one,
        Endpoint(settings("http://a/v1", "http://b/v1", in_flight=3), name="y") as same,
        Endpoint(settings("http://a/v1", model="another"), name="x") as another,
    ):
        assert one.fingerprint == same.fingerprint != another.fingerprint


def test_a_key_that_is_not_there_is_asked_for_by_name(monkeypatch):
    monkeypatch.delenv("LOOPBACK_KEY", raising=False)
    with pytest.raises(RecipeError, match=r"chat_models\.author\.api_key_env .*LOOPBACK_KEY, which is not set"):
        Endpoint(settings("http://a/v1", api_key_env="LOOPBACK_KEY"), name="author")


def test_a_key_that_can_not_be_one_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("LOOPBACK_KEY", "sk-two\nlines")
    with pytest.raises(RecipeError, match="holds characters that no key has") as refused:
        Endpoint(settings("http://a/v1", api_key_env="LOOPBACK_KEY"), name="author")
    assert "sk-two" not in str(refused.value)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    while error is not None:
        yield error
        error = error.__context__


def says_the_key(status: int) -> Server:
    """A server that repeats the key in the bodies of its answers, the second time where a quote is cut."""
    words = f"Incorrect API key provided: {KEY}. ".ljust(LONGEST_QUOTE - len("Error code: 429 - ") - 6, "x") + KEY
    said = {"error": {"message": words, "code": KEY}, "model": KEY}
    return Server(failing=lambda good: Sent(status, json.dumps({**good, **said}).encode()))


@pytest.mark.parametrize("status", [None, 200, 302, 400, 401, 429, 500])
def test_the_key_is_sent_and_stands_nowhere_else(status, key, tmp_path, caplog, capfd):
    caplog.set_level(0)
    server = Server() if status is None else says_the_key(status)
    with Loopback(server) as url, Journal(tmp_path / "journal.sqlite") as journal:
        chosen = settings(url, api_key_env="LOOPBACK_KEY", retries=1)
        with Endpoint(chosen, name="author") as endpoint:
            chat = Journalled(endpoint, journal)
            shown = [chosen.model_dump_json(), repr(chosen), repr(endpoint), endpoint.fingerprint, repr(chat)]
            try:
                shown += ask(chat, REQUESTS[:2])
            except EndpointError as failure:
                shown += [str(failure), repr(failure), repr(vars(failure))]
                inner = failure.__traceback__.tb_next if failure.__traceback__ else None  # this frame knows the key
                told = traceback.TracebackException(type(failure), failure, inner, capture_locals=True)
                shown += told.format()
                assert {type(error) for error in chain(failure)} == {EndpointError}  # the client's own hold the key
    shown += [record.getMessage() for record in caplog.records]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]

    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {key}"}
    assert len(files) > 0
    assert [text for text in [*shown, *capfd.readouterr()] if key[:6] in text] == []
    assert [data for data in files if key.encode() in data] == []


def test_a_page_in_place_of_an_answer_is_quoted_without_the_key(key):
    page = f"<!doctype html><title>Sign in</title>Your key is {key}."
    server = Server(failing=lambda _: Sent(200, page.encode(), {"Content-Type": "text/html"}))
    failure = failure_of(server, retries=0, api_key_env="LOOPBACK_KEY")

    assert "it begins '<!doctype html><title>Sign in</title>Your key is ***.'" in str(failure)


def test_other_secrets_of_the_environment_are_not_sent(key, monkeypatch):
    other = "other-secret-0123456789"
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, other)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Planted: {other}\nAuthorization: Bearer {other}")
    server = Server()
    with Loopback(server) as url, Endpoint(settings(url, api_key_env="LOOPBACK_KEY"), name="author") as endpoint:
        ask(endpoint, REQUESTS[:1])

    (sent,) = server.headers
    assert sent.keys() == SENT_HEADERS | {"authorization", "accept-encoding"}
    assert (sent["authorization"], sent["accept-encoding"]) == (f"Bearer {key}", "identity")
    assert other not in json.dumps(sent)


def test_the_echo_tells_whole_texts_from_parts():
    text = echo({"messages": [{"content": "x"}]})["text"]

    assert is_whole(text)
    assert not any(is_whole(text[:end]) for end in range(len(text)))
