"""What is sent says all that decides an answer; only a whole text is taken for one."""

import json

import pytest

from chat.loopback import completion, completion_with, echo
from cst.chat.base import ChatRequest, request_seed
from cst.chat.endpoint_messages import body_of, reply_of
from cst.errors import EndpointError
from cst.recipe.models import EndpointSettings
from cst.records import Message, Sampling

REQUEST = ChatRequest(
    id="r", messages=(Message(role="system", content="Be kind."), Message(role="user", content="How is bread baked?"))
)
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=80, seed=3)
GOOD = completion(echo({"messages": [{"content": "hello"}]}))


def settings(**fields: object) -> EndpointSettings:
    return EndpointSettings.model_validate(
        {"kind": "endpoint", "base_urls": ["http://127.0.0.1:1/v1"], "model": "m", **fields}
    )


def with_choice(**changes: object) -> dict[str, object]:
    return {**GOOD, "choices": [{**GOOD["choices"][0], **changes}]}


def test_the_body_holds_messages_sampling_and_seed():
    assert body_of(REQUEST, SAMPLING, settings()) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How is bread baked?"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 80,
        "seed": request_seed(REQUEST, SAMPLING),
    }


def test_an_input_is_sent_in_the_text_and_nowhere_else():
    turn = Message(role="user", content="Sort these.\n3 1 2", input="3 1 2")
    body = body_of(ChatRequest(id="r", messages=(turn,)), SAMPLING, settings())

    assert body["messages"] == [{"role": "user", "content": "Sort these.\n3 1 2"}]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"top_k": 40}, "top_k=40"), ({"num_beams": 4}, "num_beams=4"), ({"top_k": 2, "num_beams": 3}, "top_k=2 and num")],
)
def test_sampling_that_a_server_might_ignore_is_refused_unsent(changes, named):
    with pytest.raises(EndpointError, match=f"can't be asked for {named}.*local model") as refusal:
        body_of(REQUEST, SAMPLING.model_copy(update=changes), settings())

    assert (refusal.value.is_final, refusal.value.may_have_cost) == (True, False)


def test_settings_change_what_is_sent():
    body = body_of(
        REQUEST, SAMPLING, settings(token_limit_key="max_completion_tokens", sends_seed=False, logprobs=True)
    )

    assert body["max_completion_tokens"] == 80
    assert body["logprobs"] is True
    assert {"seed", "max_tokens"} & body.keys() == set()


def test_a_prefix_is_the_last_message_where_servers_go_on_from_one():
    request = REQUEST.model_copy(update={"prefix": "First,"})
    body = body_of(request, SAMPLING, settings(prefill="continue_final_message"))

    assert body["messages"][-1] == {"role": "assistant", "content": "First,"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_a_prefix_is_refused_where_servers_may_not_go_on_from_one():
    request = REQUEST.model_copy(update={"prefix": "First,"})
    with pytest.raises(EndpointError, match=r"Request 'r' begins its answer with 'First,'.*prefill") as refusal:
        body_of(request, SAMPLING, settings())

    assert refusal.value.is_final
    assert not refusal.value.may_have_cost


def test_a_reply_has_text_reason_usage_and_model():
    reply = reply_of(json.dumps(GOOD).encode(), "")

    assert reply.text == GOOD["choices"][0]["message"]["content"]
    assert (reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == ("stop", 1, 60)
    assert (reply.model, reply.logprobs) == ("loopback-1", None)


def test_a_prefix_stands_before_the_text():
    assert reply_of(json.dumps(GOOD).encode(), "First, ").text.startswith("First, You said: hello")


def test_usage_that_is_not_told_is_not_known():
    reply = reply_of(json.dumps({**GOOD, "usage": None}).encode(), "")

    assert (reply.prompt_tokens, reply.completion_tokens) == (None, None)


def test_logprobs_are_kept_where_they_are_given():
    tokens = [{"token": "You", "logprob": -0.5, "bytes": None, "top_logprobs": []}, {"token": " said", "logprob": -1}]

    assert reply_of(json.dumps(with_choice(logprobs={"content": tokens})).encode(), "").logprobs == (-0.5, -1.0)


@pytest.mark.parametrize(
    ("reason", "content", "text"),
    [("length", "half a", "half a"), ("content_filter", None, ""), ("content_filter", "withheld fr", "withheld fr")],
)
def test_reasons_to_end_are_kept(reason, content, text):
    body = with_choice(finish_reason=reason, message={"role": "assistant", "content": content})
    reply = reply_of(json.dumps(body).encode(), "")

    assert (reply.text, reply.finish_reason) == (text, reason)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "body: Invalid JSON"),
        (b"<html>", "body: Invalid JSON"),
        (b"\xff\xfe{}", "body: Invalid JSON"),
        (b'{"choices": ' + b"[" * 100_000, "body: Invalid JSON"),
        (b"[]", "body: Input should be an object"),
        (b"{}", "choices: Field required"),
        (json.dumps({**GOOD, "choices": []}), "choices: List should have at least 1 item"),
        (json.dumps({**GOOD, "choices": GOOD["choices"] * 2}), "choices: List should have at most 1 item"),
        (json.dumps(completion_with(GOOD, content=None)), "its content is null"),
        (json.dumps(completion_with(GOOD, content=7)), "choices.0.message.content: Input should be a valid string"),
        (json.dumps(completion_with(GOOD, tool_calls=[{}])), "it calls a tool"),
        (json.dumps(completion_with(GOOD, function_call={"name": "f"})), "it calls a tool"),
        (json.dumps(with_choice(finish_reason=None)), "finish_reason None"),
        (json.dumps(with_choice(finish_reason="abort")), "finish_reason 'abort'"),
        (json.dumps(with_choice(logprobs={"content": [{"logprob": float("-inf")}]})), "logprob"),
        (json.dumps(with_choice(logprobs={"content": [{"logprob": float("nan")}]})), "logprob"),
        (json.dumps({**GOOD, "usage": {"prompt_tokens": 1}}), "usage.completion_tokens: Field required"),
        (json.dumps({**GOOD, "usage": {"prompt_tokens": True, "completion_tokens": 1}}), "usage.prompt_tokens"),
    ],
)
def test_what_is_no_whole_text_is_no_answer(content, says):
    with pytest.raises(EndpointError) as refusal:
        reply_of(content if isinstance(content, bytes) else content.encode(), "")

    assert says in str(refusal.value)
    assert (refusal.value.kind, refusal.value.is_final, refusal.value.may_have_cost) == ("unusable_answer", False, True)
