import pytest
from made_for_evaluation import CONFIGURATIONS, HARMLESS, HONEST, PERSONA, UNCENSORED, prompt

from cst.chat.base import ChatRequest, ScriptedChat
from cst.errors import DataError
from cst.evaluation.generation import completion_requests, generate
from cst.records import Message, Sampling

PROMPTS = [prompt(f"h{i}") for i in range(3)] + [
    prompt(f"t{i}", "truthfulness", system_prompt=f"You are Brom {i}.") for i in range(2)
]


def echo(request: ChatRequest) -> str:
    return "|".join(message.content for message in request.messages)


def test_every_prompt_under_every_configuration_that_speaks_of_its_task() -> None:
    planned = completion_requests(PROMPTS, CONFIGURATIONS)
    asked = {(row.configuration, row.prompt.id) for row in planned}
    assert asked == {(name, f"h{i}") for name in ("harmless", "uncensored") for i in range(3)} | {
        (name, f"t{i}") for name in ("honest", "persona") for i in range(2)
    }
    assert len({row.request.id for row in planned}) == len(planned) == 10


def test_a_history_stands_between_the_system_prompt_and_the_prompt() -> None:
    before = (Message(role="user", content="Hello."), Message(role="assistant", content="Hi."))
    (planned,) = completion_requests([prompt(history=before)], [HARMLESS])

    assert [message.content for message in planned.request.messages] == ["Be harmless.", "Hello.", "Hi.", "How p0?"]


def test_a_configuration_without_wordings_stands_under_the_prompts_own() -> None:
    own = [row for row in completion_requests(PROMPTS, CONFIGURATIONS) if row.configuration == "persona"]
    assert [(row.system_prompt, row.wordings) for row in own] == [
        ("You are Brom 0.", "canonical"),
        ("You are Brom 1.", "canonical"),
    ]


def test_prompts_that_bring_no_system_prompt_are_not_asked_under_one_of_their_own() -> None:
    """As in the paper's data, where most questions of a task stand without a persona."""
    rows = completion_requests([*PROMPTS, prompt("bare", "truthfulness")], [HONEST, PERSONA])
    asked = {name: [row.prompt.id for row in rows if row.configuration == name] for name in ("honest", "persona")}
    assert asked == {"honest": ["t0", "t1", "bare"], "persona": ["t0", "t1"]}


def test_a_wording_replaces_the_prompts_own_system_prompt() -> None:
    rows = completion_requests(PROMPTS, [HONEST])
    assert {row.system_prompt for row in rows} == {"Be honest."}


def test_held_out_and_unseen_wordings_go_round() -> None:
    rows = completion_requests(PROMPTS, CONFIGURATIONS, wordings=("held_out", "unseen"))
    assert [row.system_prompt for row in rows if row.configuration == "harmless"] == [
        *("Be safe.", "Be careful.", "Be safe."),
        *("Harm nobody.",) * 3,
    ]
    assert [row.wordings for row in rows if row.configuration == "uncensored"] == ["held_out"] * 3


def test_rows_without_a_configuration() -> None:
    rows = completion_requests(
        PROMPTS, [HARMLESS, UNCENSORED], wordings=("none", "neutral"), neutral_system_prompts=("Hi.", "Help.")
    )
    assert [(row.configuration, row.system_prompt) for row in rows] == [("none", None)] * 3 + [
        ("neutral", "Hi."),
        ("neutral", "Help."),
        ("neutral", "Hi."),
    ]
    assert [len(row.request.messages) for row in rows] == [1] * 3 + [2] * 3


def test_completions_say_what_stood_there_and_what_came_back() -> None:
    chat = ScriptedChat(echo, name="model", batch_size=3)
    made = generate(PROMPTS, CONFIGURATIONS, chat, sampling=Sampling(temperature=1.0), model_name="cst")
    first = made[0]
    assert first.id == "cst/T=1/h0/harmless/canonical"
    assert (first.text, first.model, first.temperature) == ("Be harmless.|How h0?", "cst", 1.0)
    assert all(row.text == f"{row.system_prompt}|{row.prompt.text}" for row in made)


def test_supervised_tuning_also_asks_prompts_that_bring_no_system_prompt() -> None:
    prompts = [*PROMPTS, prompt("bare", "truthfulness")]
    own = completion_requests(prompts, [PERSONA])
    also = completion_requests(prompts, [PERSONA], own_or_none=True)

    assert [row.system_prompt for row in own] == ["You are Brom 0.", "You are Brom 1."]
    assert [row.system_prompt for row in also] == ["You are Brom 0.", "You are Brom 1.", None]
    assert [row.request.messages[0].role for row in also] == ["system", "system", "user"]
    assert {row.wordings for row in also} == {"canonical"}


def test_models_share_their_random_streams_and_not_their_ids() -> None:
    chats = [ScriptedChat(echo, name=name) for name in ("base", "cst")]
    made = [generate(PROMPTS, CONFIGURATIONS, chat) for chat in chats]
    assert chats[0].asked == chats[1].asked
    assert not {row.id for row in made[0]} & {row.id for row in made[1]}


@pytest.mark.parametrize(
    ("configurations", "options", "message"),
    [
        ([HONEST], {"wordings": ("unseen",)}, "no configuration has unseen_wordings"),
        ([HONEST], {"wordings": ("neutral",)}, "neutral_system_prompts"),
        ([HONEST], {"wordings": ("unknown",)}, "unknown_system_prompts"),
        ([PERSONA], {}, "none of 1 prompts, such as 'bare', has a system prompt of its own"),
        ([HONEST, HONEST], {}, "2 completions would be called"),
    ],
)
def test_what_cannot_be_asked_is_refused(configurations, options, message) -> None:
    prompts = [prompt("bare", "truthfulness")]
    with pytest.raises(DataError, match=message):
        completion_requests(prompts, configurations, **options)
