"""One step at a time: what goes on carries its transcript, what falls out carries its reason."""

from cst.chat.base import ChatRequest, ScriptedChat
from cst.records import Drop, Message, Prompt, Sampling, Side, TranscriptStep
from cst.synthesis.drafts import Asking, Draft, DraftRequest, DraftStep, ask, make_pairs, step_name, to_pairs

DRAFTS = [Draft(Prompt(id=name, text=f"say {name}", task="t")) for name in ("a", "b", "c")]
ASKING = Asking(Sampling())


def question(draft: Draft) -> DraftRequest:
    return DraftRequest((Message(role="user", content=draft.prompt.text),))


def step(name: str, script, side: Side | None = None) -> DraftStep:
    return DraftStep(name, ScriptedChat(script), question, side)


def echo(request: ChatRequest) -> str:
    return request.messages[-1].content.removeprefix("say ")


def said(**texts: str) -> tuple[TranscriptStep, ...]:
    return tuple(TranscriptStep(step=name, text=text, finish_reason="stop") for name, text in texts.items())


def test_each_draft_gets_its_own_reply_and_keeps_those_before():
    first, _ = ask(DRAFTS, step("original", echo), ASKING)
    second, drops = ask(first, step("critique", lambda _: "so so"), ASKING)

    assert drops == []
    assert [(draft.text("original"), draft.text("critique")) for draft in second] == [
        ("a", "so so"),
        ("b", "so so"),
        ("c", "so so"),
    ]
    assert all(draft.text("original") == "" for draft in DRAFTS)


def test_request_ids_tell_steps_rounds_and_prompts_apart():
    steps = [step(step_name(kind, number), echo) for kind in ("original", "revised") for number in (1, 2)]
    for each in steps:
        ask(DRAFTS, each, ASKING)

    assert len({request.id for each in steps for request in each.chat.asked}) == 4 * len(DRAFTS)


def test_the_transcript_tells_who_was_asked_what_and_what_came():
    chat = ScriptedChat(echo, name="mia")
    system = Message(role="system", content="Be brief.")
    asked = DraftStep(
        "original", chat, lambda draft: DraftRequest((system, *question(draft).messages), principle="kind")
    )
    (draft, *_), _ = ask(DRAFTS, asked, ASKING)

    assert draft.transcript == (
        TranscriptStep(
            step="original",
            model="mia",
            principle="kind",
            system_prompt="Be brief.",
            request="say a",
            text="a",
            finish_reason="stop",
        ),
    )


def test_an_original_that_the_prompt_brings_is_not_asked_for_but_judged():
    given = Draft(Prompt(id="g", text="say g", task="t", original="mine"))
    first = step("original", echo, Side.ORIGINAL)
    seen: list[str] = []

    def judge(answers):
        seen.extend(text for _, text in answers)
        return [Side.ORIGINAL] * len(answers)

    kept, _ = ask([*DRAFTS, given], first, Asking(Sampling(), judge))

    assert [request.id for request in first.chat.asked] == ["original/a", "original/b", "original/c"]
    assert [draft.text("original") for draft in kept] == ["a", "b", "c", "mine"] == seen
    assert kept[-1].transcript == said(original="mine")


def test_an_unfit_reply_falls_out_with_what_was_said():
    kept, drops = ask(DRAFTS, step("original", lambda request: "" if echo(request) == "b" else "yes"), ASKING)

    assert [draft.prompt.id for draft in kept] == ["a", "c"]
    assert drops == [Drop(prompt_id="b", task="t", reason="original_empty")]


def test_the_judge_is_asked_only_about_steps_that_stand_on_a_side():
    asked: list[str] = []

    def judge(answers):
        asked.extend(text for _, text in answers)
        return [Side.REVISED if text == "b" else Side.ORIGINAL for _, text in answers]

    kept, drops = ask(DRAFTS, step("original", echo, Side.ORIGINAL), Asking(Sampling(), judge))
    ask(kept, step("critique", echo), Asking(Sampling(), judge))

    assert asked == ["a", "b", "c"]
    assert [drop.reason for drop in drops] == ["original_shows_the_revised_side"]
    assert drops[0].original == "b"


def test_an_empty_reply_is_named_as_empty_whatever_the_judge_says():
    judged = Asking(Sampling(), lambda _: [Side.REVISED])
    _, drops = ask(DRAFTS[:1], step("original", lambda _: "", Side.ORIGINAL), judged)

    assert [drop.reason for drop in drops] == ["original_empty"]


def test_pairs_have_two_different_sides_and_their_audit_trail():
    prompt = DRAFTS[0].prompt
    good = Draft(prompt, said(original="o", critique="c", revised="r"))
    same = Draft(prompt, said(original="o", critique="c", revised="o"))
    pairs, drops = to_pairs([good, same], "me")

    assert [(p.original, p.critique, p.revised, p.author, p.transcript) for p in pairs] == [
        ("o", "c", "r", "me", good.transcript)
    ]
    assert [(d.reason, d.original, d.critique, d.revised) for d in drops] == [
        ("original_equals_revised", "o", "c", "o")
    ]


def test_a_pair_without_a_critique_has_none():
    (pair,), _ = to_pairs([Draft(DRAFTS[0].prompt, said(original="o", revised="r"))], "me")

    assert pair.critique is None


def test_of_several_rounds_the_last_word_counts():
    rounds = said(original="o", critique="c", revised="r", critique_2="d", revised_2="s")
    (pair,), _ = to_pairs([Draft(DRAFTS[0].prompt, rounds)], "me")

    assert (pair.original, pair.critique, pair.revised) == ("o", "d", "s")


def test_the_author_names_each_model_once():
    steps = [
        DraftStep(name, ScriptedChat(lambda r: r.id, name=model), question)
        for name, model in {"original": "mia", "critique": "leo", "revised": "mia"}.items()
    ]
    pairs, _ = make_pairs(DRAFTS, steps, ASKING, "self_critique")

    assert {pair.author for pair in pairs} == {"self_critique by mia, leo"}
