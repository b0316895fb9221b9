"""Moderation under its old name, against a server that fails now and then."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.loopback import Body, Loopback, Sent, Server, as_json, moderation_score, refusal
from cst.errors import DataError, EndpointError, RecipeError
from cst.evals import ContentModeration
from cst.recipe_harm_judges import ModerationSettings

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
