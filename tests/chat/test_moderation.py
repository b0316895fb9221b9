"""The moderation endpoint against a server that fails now and then."""

import json
from collections.abc import Iterator

import pytest

from chat.loopback import FINAL, OF_COMPLETIONS, PASSING, Body, Loopback, Sent, Server, as_json, moderation_score
from cst.chat.base import ChatRequest
from cst.chat.complete import complete
from cst.chat.journalled import Journalled
from cst.chat.moderation import ModerationEndpoint, ModerationResult, result_of
from cst.errors import EndpointError, RecipeError
from cst.journal import Journal
from cst.recipe.judges import ModerationSettings
from cst.records import Message, Sampling

KEY = "sk-planted-0123456789abcdef"
TEXTS = [f"A {'storm' if n % 3 == 0 else 'calm'} came on day {n}." for n in range(50)]


def requests(texts: list[str]) -> list[ChatRequest]:
    return [ChatRequest(id=text, messages=(Message(role="user", content=text),)) for text in texts]


def settings(**fields: object) -> ModerationSettings:
    quick = {"kind": "moderation", "first_wait_seconds": 0.002, "retries": 30, "inputs_per_request": 4}
    return ModerationSettings.model_validate({**quick, **fields})


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("OPENAI_API_KEY", "OPEN_AI_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPEN_AI_KEY", KEY)
    yield monkeypatch


def moderated(
    server: Server, environment: pytest.MonkeyPatch, texts: list[str] = TEXTS, **fields: object
) -> list[ModerationResult]:
    with Loopback(server) as url:
        environment.setenv("OPENAI_BASE_URL", url)
        with ModerationEndpoint(settings(**fields)) as endpoint:
            return [result_of(r) for r in complete(endpoint, requests(texts), Sampling(), description="moderate")]


def test_several_texts_go_with_one_call_and_come_back_in_order(environment) -> None:
    server = Server()
    results = moderated(server, environment)

    assert [result.scores["violence"] for result in results] == [moderation_score(text) for text in TEXTS]
    assert [result.flagged for result in results] == ["storm" in text for text in TEXTS]
    assert results[0].categories == ("violence",)
    assert set(results[0].scores) == {"violence", "harassment"}
    assert {"model": "omni-moderation-latest", "input": TEXTS[:4]} in server.bodies
    assert server.asked.total() == 13
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


def test_every_text_is_scored_once_in_order_though_half_of_the_calls_fail(environment, tmp_path) -> None:
    server = Server(failures=0.5, seed=3)
    with Loopback(server) as url, Journal(tmp_path / "journal.sqlite") as journal:
        environment.setenv("OPENAI_BASE_URL", url)
        with ModerationEndpoint(settings(inputs_per_request=2)) as endpoint:
            chat = Journalled(endpoint, journal)
            first, again = (complete(chat, requests(TEXTS), Sampling(), description="moderate") for _ in range(2))

    assert [result_of(reply).scores["violence"] for reply in first] == [moderation_score(text) for text in TEXTS]
    assert again == first
    assert len(server.ways) >= 8
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 25


@pytest.mark.parametrize("way", sorted(PASSING.keys() - OF_COMPLETIONS))
def test_what_passes_is_asked_again(way, environment) -> None:
    server = Server(failing=way)
    with pytest.raises(EndpointError) as failure:
        moderated(server, environment, TEXTS[:2], retries=1)

    assert server.asked.total() == 2
    assert not failure.value.is_final
    assert "omni-moderation-latest at http://127.0.0.1" in str(failure.value)
    assert "2 texts from request 'A storm came on day 0.' on" in str(failure.value)


@pytest.mark.parametrize("way", FINAL)
def test_what_stays_is_refused_at_once(way, environment) -> None:
    server = Server(failing=way)
    with pytest.raises(EndpointError) as failure:
        moderated(server, environment, TEXTS[:2])

    assert server.asked.total() == 1
    assert failure.value.is_final


def with_result(**changes: object):
    def send(good: Body) -> Sent:
        return as_json({**good, "results": [{**good["results"][0], **changes}]})

    return send


@pytest.mark.parametrize(
    ("failing", "says"),
    [
        (lambda good: as_json({**good, "results": []}), "it has 0 results for 1 texts"),
        (lambda good: as_json({**good, "results": good["results"] * 2}), "it has 2 results for 1 texts"),
        (with_result(flagged="yes"), r"it is no moderation \(results.0.flagged"),
        (with_result(category_scores={"violence": 1.5}), r"results.0.category_scores.violence"),
        (with_result(category_scores=None), r"results.0.category_scores"),
    ],
)
def test_what_is_no_moderation_of_these_texts_is_not_taken(failing, says, environment) -> None:
    with pytest.raises(EndpointError, match=says):
        moderated(Server(failing=failing), environment, TEXTS[:1], retries=0)


def test_the_clients_own_key_is_taken_first(environment) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-the-clients-own")
    server = Server()
    moderated(server, environment, TEXTS[:1])

    assert server.headers[0]["authorization"] == "Bearer sk-the-clients-own"


@pytest.mark.parametrize("key", ["", "two words"])
def test_without_a_key_nothing_is_asked(key, environment) -> None:
    environment.setenv("OPEN_AI_KEY", key)
    with pytest.raises(RecipeError, match=r"OPEN_AI_KEY, which (is not set|holds characters)") as refusal:
        ModerationEndpoint(settings())

    assert "two words" not in str(refusal.value)


def test_an_address_with_credentials_is_refused_and_not_shown(environment) -> None:
    environment.setenv("OPENAI_BASE_URL", f"https://user:{KEY}@example.org/v1")
    with pytest.raises(RecipeError, match="OPENAI_BASE_URL holds no address without credentials") as refusal:
        ModerationEndpoint(settings())

    assert KEY not in str(refusal.value)


def test_a_result_is_json_that_is_read_back(environment) -> None:
    result = ModerationResult(flagged=True, categories=("violence",), scores={"violence": 0.5})

    assert json.loads(result.model_dump_json()) == {
        "flagged": True,
        "categories": ["violence"],
        "scores": {"violence": 0.5},
    }
