"""One step at a time: what goes on carries its transcript, what falls out carries its reason."""

from cst.chat.base import ChatReply, ChatRequest
from cst.chat.scripted import ScriptedChat
from cst.records import Drop, Message, Prompt, Sampling, Side
from cst.synthesis.drafts import Asking, Draft, ask, to_pairs

DRAFTS = [Draft(Prompt(id=name, text=f"say {name}", task="t")) for name in ("a", "b", "c")]


def to_request(draft: Draft) -> tuple[tuple[Message, ...], str]:
    return (Message(role="user", content=draft.prompt.text),), ""


def said(text: str) -> ChatReply:
    return ChatReply(text=text, finish_reason="stop", prompt_tokens=1, completion_tokens=1)


def asking(script, judge=None) -> Asking:
    return Asking(ScriptedChat(script), Sampling(), judge)


def echo(request: ChatRequest) -> str:
    return request.messages[-1].content.removeprefix("say ")


def test_each_draft_gets_its_own_reply_and_keeps_those_before():
    first, _ = ask(DRAFTS, "original", to_request, asking(echo))
    second, drops = ask(first, "critique", to_request, asking(lambda _: "so so"))

    assert drops == []
    assert [(draft.text("original"), draft.text("critique")) for draft in second] == [
        ("a", "so so"),
        ("b", "so so"),
        ("c", "so so"),
    ]
    assert all(draft.text("original") == "" for draft in DRAFTS)


def test_request_ids_tell_steps_and_prompts_apart():
    chat = ScriptedChat(echo)
    for step in ("original", "revised"):
        ask(DRAFTS, step, to_request, Asking(chat, Sampling(), None))

    assert len({request.id for request in chat.asked}) == 2 * len(DRAFTS)


def test_an_unfit_reply_falls_out_with_what_was_said():
    kept, drops = ask(DRAFTS, "original", to_request, asking(lambda request: "" if echo(request) == "b" else "yes"))

    assert [draft.prompt.id for draft in kept] == ["a", "c"]
    assert drops == [Drop(prompt_id="b", task="t", reason="original_empty")]


def test_the_judge_is_asked_only_about_steps_that_stand_on_a_side():
    asked: list[str] = []

    def judge(answers):
        asked.extend(text for _, text in answers)
        return [Side.REVISED if text == "b" else Side.ORIGINAL for _, text in answers]

    kept, drops = ask(DRAFTS, "original", to_request, asking(echo, judge), Side.ORIGINAL)
    ask(kept, "critique", to_request, asking(echo, judge))

    assert asked == ["a", "b", "c"]
    assert [drop.reason for drop in drops] == ["original_shows_the_revised_side"]
    assert drops[0].original == "b"


def test_an_empty_reply_is_named_as_empty_whatever_the_judge_says():
    _, drops = ask(DRAFTS[:1], "original", to_request, asking(lambda _: "", lambda _: [Side.REVISED]), Side.ORIGINAL)

    assert [drop.reason for drop in drops] == ["original_empty"]


def test_pairs_have_two_different_sides_and_their_audit_trail():
    prompt = DRAFTS[0].prompt
    good = Draft(prompt, {"original": said("o"), "critique": said("c"), "revised": said("r")})
    same = Draft(prompt, {"original": said("o"), "critique": said("c"), "revised": said("o")})
    pairs, drops = to_pairs([good, same], "me")

    assert [(p.original, p.critique, p.revised, p.author) for p in pairs] == [("o", "c", "r", "me")]
    assert [(d.reason, d.original, d.critique, d.revised) for d in drops] == [
        ("original_equals_revised", "o", "c", "o")
    ]


def test_a_pair_without_a_critique_has_none():
    (pair,), _ = to_pairs([Draft(DRAFTS[0].prompt, {"original": said("o"), "revised": said("r")})], "me")

    assert pair.critique is None
