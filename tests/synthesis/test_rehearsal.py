"""A plan asks nothing, and nothing is asked that it doesn't have."""

from collections import Counter

from cst.chat.journalled import Journalled
from cst.chat.scripted import ScriptedChat
from cst.journal import Journal
from cst.recipe.models import Prices
from cst.recipe.synthesis import ContrastSettings, SelfCritiqueSettings, SynthesisSettings
from cst.records import Prompt, Sampling
from cst.synthesis.critique import synthesize
from cst.synthesis.rehearsal import rehearse

SETTINGS = SynthesisSettings(
    sampling=Sampling(max_new_tokens=50),
    methods=(
        SelfCritiqueSettings(
            kind="self_critique", tasks=("a",), rounds=2, critique_request="Judge {original}.", revision_request="Mend."
        ),
        ContrastSettings(kind="contrast", tasks=("b",), reviser="leo"),
    ),
)
PROMPTS = [Prompt(id=f"{task}{n}", text=f"Say {n}.", task=task) for task in "ab" for n in range(6)]


def models(journal):
    """Two models and what they were asked."""
    chats = [ScriptedChat(lambda request: f"I say {request.id}.", name=name, batch_size=1) for name in ("mia", "leo")]
    prices = Prices(prompt_per_million=1, completion_per_million=1)
    return chats, [Journalled(chat, journal, prices=prices) for chat in chats]


def test_a_plan_has_the_calls_that_are_then_made(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        chats, (mia, leo) = models(journal)
        planned = rehearse(PROMPTS, mia, SETTINGS, chat_models={"leo": leo})
        assert [chat.asked for chat in chats] == [[], []]
        synthesize(PROMPTS, mia, SETTINGS, chat_models={"leo": leo})
        cost = journal.ledger.cost / 1e9
    made = Counter((request.id.split("/")[0], chat.name) for chat in chats for request in chat.asked)

    assert {(step.step, step.model): step.estimate.calls for step in planned} == made
    assert made["critique_2", "mia"] == 6
    assert made["revised", "leo"] == 6
    assert 0 < cost <= sum(step.estimate.highest_cost for step in planned)


def test_what_the_journal_has_is_not_planned_again(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        _, (mia, leo) = models(journal)
        synthesize(PROMPTS[:4], mia, SETTINGS, chat_models={"leo": leo})
        planned = rehearse(PROMPTS[:6], mia, SETTINGS, chat_models={"leo": leo})
        nothing = rehearse(PROMPTS[:4], mia, SETTINGS, chat_models={"leo": leo})

    assert nothing == []
    assert [(step.step, step.estimate.calls) for step in planned] == [
        ("original", 2),
        ("critique", 2),
        ("revised", 2),
        ("critique_2", 2),
        ("revised_2", 2),
    ]
