"""What pairs took is what the journal's calls of synthesis add up to."""

from cst.chat.journal import Call
from cst.synthesis.gates import SynthesisSummary
from cst.synthesis.spending import spending


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
