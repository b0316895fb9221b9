"""Synthesis with models behind a server: planned, kept to a budget, gone on with, dealt out and put together again."""

import json
import threading
from contextlib import contextmanager

import pytest

from chat.loopback import Loopback, Server
from cst.chat.budget import Budget
from cst.chat.journal import Journal
from cst.commands.console import spending_of
from cst.commands.synthesis import home_of, plan, plan_synthesis, synthesize
from cst.doors import run
from cst.errors import BudgetError, RecipeError, RunFolderError
from cst.recipe.reading import parse_recipe
from cst.synthesis.planning import Shard

RECIPE = """
name: try
model: {path: miniature}
chat_models:
  mia: {kind: endpoint, base_urls: [URL], model: m, in_flight: 8, first_wait_seconds: 0.01, longest_wait_seconds: 0.05,
        prices: {prompt_per_million: 1.0, completion_per_million: 2.0}}
  leo: {kind: endpoint, base_urls: [URL], model: l, in_flight: 8, first_wait_seconds: 0.01, longest_wait_seconds: 0.05}
prompts: {training: [{kind: file, path: prompts.jsonl}]}
synthesis:
  sampling: {temperature: 0.5, max_new_tokens: 400}
  methods:
    - kind: self_critique
      tasks: [harmless]
      author: mia
      critic: leo
      principles: {kind: Be kind., honest: Be honest.}
      critique_request: "{principle} What is wrong?"
      revision_request: "{principle} Mend it."
"""
N = 30


@contextmanager
def served(folder, text=RECIPE, failures=0.0):
    """The recipe's file with a server behind it, and the server."""
    rows = [{"id": f"p{n}", "text": f"How do I whittle a {n}?", "task": "harmless"} for n in range(N)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = Server(failures=failures)
    with Loopback(server) as url:
        file = folder / "try.yaml"
        file.write_text(text.replace("URL", url))
        yield file, server
    assert threading.active_count() < 50


def read(file):
    return parse_recipe(file.read_text(), where="try.yaml", folder=file.parent)


def pairs_of(home):
    return {name: (home / name).read_bytes() for name in ("pairs.jsonl", "drops.jsonl", "synthesis.json")}


def make(file, home, **more):
    synthesize(file, home, **more)


def test_a_plan_asks_nothing_and_names_what_is_then_asked(tmp_path):
    with served(tmp_path) as (file, server):
        planned = plan_synthesis(read(file), tmp_path / "run")
        assert server.asked.total() == 0
        run(read(file), tmp_path / "run", until="synthesize")
        after = plan_synthesis(read(file), tmp_path / "run")

    calls = {(step.step, step.model): step.estimate.calls for step in planned}
    assert calls == {("original", "mia"): N, ("critique", "leo"): N, ("revised", "mia"): N}
    assert server.asked.total() == 3 * N
    assert after == []
    assert not [path for path in (tmp_path / "run").iterdir() if "planned" in path.name]
    spent = spending_of(tmp_path / "run")
    assert 0 < spent.cost < sum(step.estimate.highest_cost for step in planned)
    assert all(step.estimate.cost == 0 for step in planned if step.model == "leo")


@pytest.mark.parametrize("limit", [{"max_calls": 50}, {"max_cost": 0.012}], ids=str)
def test_a_budget_is_never_passed_and_a_larger_one_goes_on(tmp_path, limit):
    with served(tmp_path, failures=0.2) as (file, server):
        recipe, home = read(file), tmp_path / "run"
        with pytest.raises(BudgetError, match="What was answered is kept"):
            run(recipe, home, until="synthesize", budget=Budget(**limit))
        before = server.answered.copy()
        with Journal(home / "journal.sqlite") as journal:
            assert 0 < server.asked.total() <= journal.ledger.calls <= limit.get("max_calls", 3 * N)
            assert journal.ledger.cost <= limit.get("max_cost", 1.0) * 1e9
        left = sum(step.estimate.calls for step in plan_synthesis(recipe, home))
        run(recipe, home, until="synthesize", budget=Budget(max_calls=400))
        run(recipe, tmp_path / "again", until="synthesize")

    assert left <= 3 * N - before.total() + 8  # an answer in the hand of a stopped client is asked for again
    assert pairs_of(home) == pairs_of(tmp_path / "again")


def test_the_summary_counts_calls_failures_tokens_and_cost_of_each_pair(tmp_path, capsys):
    with served(tmp_path, failures=0.3) as (file, server):
        make(file, tmp_path / "run", as_json=True)
    told = json.loads(capsys.readouterr().out)["spending"]

    assert told["calls"] == told["answered"] + sum(told["failures"].values()) == server.asked.total()
    assert told["answered"] == 3 * N
    assert told["failures"]
    assert told["pairs"] == N
    assert told["per_pair"]["calls"] == told["calls"] / N
    assert told["per_pair"]["cost"] == told["cost"] / N > 0


def test_what_was_spent_is_told_again_without_opening_the_journal(tmp_path, capsys):
    with served(tmp_path) as (file, _):
        make(file, tmp_path / "run", as_json=True)
        first = json.loads(capsys.readouterr().out)["spending"]
        (tmp_path / "run/journal.sqlite").write_bytes(b"no journal")
        make(file, tmp_path / "run", as_json=True)

    assert json.loads(capsys.readouterr().out)["spending"] == first


def test_shards_put_together_are_the_undivided_run(tmp_path):
    with served(tmp_path) as (file, server):
        make(file, tmp_path / "whole")
        for index in (1, 2, 3):
            make(file, tmp_path / f"shard{index}", shard=f"{index}/3")
        asked = server.asked.total()
        make(file, tmp_path / "merged", from_shard=[tmp_path / f"shard{index}" for index in (1, 2, 3)])

        assert asked == server.asked.total() == 2 * 3 * N
        assert pairs_of(tmp_path / "merged") == pairs_of(tmp_path / "whole")
        assert spending_of(tmp_path / "merged").calls == 3 * N
        assert 0 < len((tmp_path / "shard1/pairs.jsonl").read_text().splitlines()) < N
        with pytest.raises(RunFolderError, match="is there already"):
            make(file, tmp_path / "merged", from_shard=[tmp_path / "shard1"])


def test_a_shard_that_is_missing_is_asked_for_in_the_merged_run(tmp_path):
    with served(tmp_path) as (file, server):
        make(file, tmp_path / "shard1", shard="1/2")
        before = server.asked.total()
        make(file, tmp_path / "merged", from_shard=[tmp_path / "shard1"])

        assert 0 < before < server.asked.total() == 3 * N


def test_shards_of_another_recipe_and_folders_that_are_none_are_refused(tmp_path):
    with served(tmp_path) as (file, _):
        make(file, tmp_path / "shard1", shard="1/2")
        file.write_text(file.read_text().replace("Be kind.", "Be brief."))
        with pytest.raises(RunFolderError, match=r"shard1 holds a run of another recipe \(changed: synthesis\)"):
            make(file, tmp_path / "merged", from_shard=[tmp_path / "shard1"])
        with pytest.raises(RunFolderError, match=r"nothing is not a run folder"):
            make(file, tmp_path / "merged", from_shard=[tmp_path / "nothing"])
    assert not (tmp_path / "merged/journal.sqlite").exists()


def test_models_in_this_process_take_no_shards(tmp_path):
    local, refusal = RECIPE.replace("      author: mia\n", ""), "the start model runs in this process"
    with served(tmp_path, local) as (file, _), pytest.raises(RecipeError, match=refusal):
        make(file, tmp_path / "run", shard="1/2")


def test_a_shard_has_a_folder_of_its_own_unless_told_otherwise(tmp_path):
    with served(tmp_path) as (file, _):
        recipe = read(file)
    assert str(home_of(recipe, None, Shard(2, 4))) == "runs/try-shard-2-of-4"
    assert str(home_of(recipe, None, None)) == "runs/try"
    assert home_of(recipe, tmp_path, Shard(2, 4)) == tmp_path


def test_a_plan_is_told_in_words_and_as_json(tmp_path, capsys):
    with served(tmp_path) as (file, _):
        plan(read(file), tmp_path / "run", None, as_json=False)
        words = capsys.readouterr().out
        plan(read(file), tmp_path / "run", Shard(1, 2), as_json=True)
        share = json.loads(capsys.readouterr().out)

    assert words.startswith(f"original by mia: {N} calls, ")
    assert f"together: at most {3 * N} new calls, cost 0." in words
    assert 0 < share[0]["estimate"]["calls"] < N
