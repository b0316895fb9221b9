"""A plan is an upper bound, shards share the work, and counts and costs add up."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ScriptedChat
from cst.chat.journal import Call, Journal
from cst.chat.journalled import Journalled
from cst.errors import RecipeError
from cst.recipe.models import Prices
from cst.recipe.synthesis import ContrastSettings, SelfCritiqueSettings, SynthesisSettings
from cst.records import Drop, Prompt, ResponsePair, Sampling
from cst.store import read_records
from cst.synthesis.critique import Synthesis, synthesize
from cst.synthesis.gates import SynthesisSummary, summarize
from cst.synthesis.planning import Shard, rehearse, shard_of, spending, write_chunks

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


def call(what, outcome="answered", **told):
    return Call(key="a", what=what, model="m", outcome=outcome, **{"cost": 0, **told})


def test_calls_of_synthesis_are_counted_and_those_of_other_stages_are_not():
    calls = [
        call("original/p", cost=10**9, prompt_tokens=5, completion_tokens=7, seconds=0.5),
        call("critique_2/p and 31 more", outcome="timeout", cost=10**9, seconds=2.0),
        call("revised_12/p", outcome="sent", cost=2 * 10**9),
        call("harmless/original/p", cost=10**9),
        call("originals/p", cost=10**9),
    ]
    made = [SynthesisSummary(task=task, prompts=9, pairs=1, drops={}) for task in "ab"]
    spent = spending(calls, made)

    assert (spent.calls, spent.answered, spent.failures) == (3, 1, {"sent": 1, "timeout": 1})
    assert (spent.prompt_tokens, spent.completion_tokens, spent.cost, spent.call_seconds) == (5, 7, 4.0, 2.5)
    assert spent.per_pair is not None
    assert (spent.per_pair.calls, spent.per_pair.cost, spent.per_pair.call_seconds) == (1.5, 2.0, 1.25)


def test_without_pairs_there_is_nothing_of_each():
    assert spending([call("original/p")], []).per_pair is None


def chunk(n):
    pair = ResponsePair(prompt=Prompt(id=f"p{n}", text="x", task="ab"[n % 2]), original="o", revised="r", author="me")
    return Synthesis((pair, pair), (Drop(prompt_id=f"d{n}", task="bc"[n % 2], reason="xy"[n % 2]),))


def test_files_and_counts_are_those_of_all_chunks_together(tmp_path):
    chunks = [chunk(n) for n in range(5)]
    summary = write_chunks(iter(chunks), tmp_path / "pairs", tmp_path / "drops")
    pairs, drops = ([each for chunk in chunks for each in getattr(chunk, kind)] for kind in ("pairs", "drops"))

    assert read_records(tmp_path / "pairs", ResponsePair) == pairs
    assert read_records(tmp_path / "drops", Drop) == drops
    assert summary == summarize(pairs, drops)


def test_a_synthesis_that_fails_leaves_no_file(tmp_path):
    def failing():
        yield chunk(0)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_chunks(failing(), tmp_path / "pairs", tmp_path / "drops")
    assert list(tmp_path.iterdir()) == []


MANY = [Prompt(id=f"p{n}", text="x", task="t") for n in range(400)]


@given(st.integers(1, 9), st.sets(st.integers(0, len(MANY) - 1)))
def test_every_prompt_is_in_one_shard_and_stays_there_when_others_leave(of, some):
    shards = [Shard(index, of) for index in range(1, of + 1)]
    homes = {prompt.id: shard for shard in shards for prompt in shard.share(MANY)}

    assert sum(len(list(shard.share(MANY))) for shard in shards) == len(MANY)
    left = [MANY[n] for n in sorted(some)]
    assert all(homes[prompt.id] == shard for shard in shards for prompt in shard.share(left))


def test_shards_are_of_about_the_same_size():
    assert all(70 < len(list(Shard(index, 4).share(MANY))) < 130 for index in (1, 2, 3, 4))


def test_a_shard_is_written_as_it_is_read():
    assert shard_of("2/4") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "a/b", "-1/4", "1/4/4", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(RecipeError, match="names no shard; write 1/4"):
        shard_of(text)
