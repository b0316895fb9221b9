"""Published tables from the command line; all texts are benign stand-ins."""

import json
from pathlib import Path

import pytest
from published_stand_ins import FOLLOWED, S0_WORDING, TEXTS, stand_in

from cst.annexes.paper import PublishedRow, stream_published, write_published
from cst.intervals import wilson
from cst.records import Completion, Verdict
from cst.store import read_records
from test_cli import cst, refused

JUDGED = "name: judged\nmodel: {path: miniature}\njudge: {kind: refusal_phrases}\n"
RUN = """
name: small
model: {path: miniature}
prompts: {held_out: [{kind: miniature, task: harmless, n: 3}, {kind: miniature, task: over_refusal, n: 2}]}
preferences: {path: rows.jsonl}
configurations: miniature
models: {cst: []}
training: {max_steps: 1, lora_r: 2}
generation: {max_new_tokens: 80, arms: [{wordings: canonical}, {wordings: held_out}, {wordings: none}]}
judge: {kind: miniature}
"""
ROW = {"system": "Be kind.", "prompt": "Hi?", "chosen": "Hello.", "rejected": "No.", "task": "manners"}


def table(folder: Path, name: str) -> str:
    write_published(folder / f"{name}.md", stand_in(name), scored=True)
    return f"{name}.md"


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_eight_published_scores_are_printed_with_their_intervals(tmp_path, name):
    printed = cst("score", table(tmp_path, name), cwd=tmp_path).stdout
    told = json.loads(cst("score", f"{name}.md", "--json", cwd=tmp_path).stdout)

    assert told["agreement"] is None
    for symbol, score in zip(("S0", "S1"), told["scores"], strict=True):
        followed = FOLLOWED[name][symbol == "S0"]
        interval = wilson(followed, 26)
        rate, low, high = (f"{x:.3f}".removeprefix("0") for x in (followed / 26, interval.low, interval.high))
        (line,) = [line for line in printed.splitlines() if f" {symbol} (" in line]
        assert f"{rate} [{low}, {high}] {followed}/26, 0 unscored" in line
        assert (score["followed"], score["n"], score["unscored"]) == (followed, 26, 0)


def test_a_recipes_judge_rates_anew_and_is_compared_with_the_tables_ratings(tmp_path):
    (tmp_path / "judged.yaml").write_text(JUDGED)
    rows = stand_in("hermes_DPO")
    rows[0] = rows[0].model_copy(update={"response": TEXTS[1], "score_response": 0})
    write_published(tmp_path / "answers.md", rows, scored=True)
    done = cst("score", "answers.md", "--recipe", "judged.yaml", "--out", "new.md", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)

    assert (told["agreement"]["agreed"], told["agreement"]["n"]) == (51, 52)
    assert 0.5 < told["agreement"]["kappa"]["value"] < 1
    assert [score["followed"] for score in told["scores"]] == [2, 25]
    written = list(stream_published(tmp_path / "new.md"))
    assert [row.score_response for row in written] == [1, *(row.score_response for row in rows[1:])]
    assert cst("score", "new.md", cwd=tmp_path).returncode == 0
    assert "Cohen's kappa" in cst("score", "answers.md", "--recipe", "judged.yaml", cwd=tmp_path).stdout


def test_a_run_writes_its_answers_as_published_and_rated_once_they_are_judged(tmp_path):
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    done = cst("generate", "run.yaml", "--format", "md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    home = tmp_path / "runs/small"
    before = list(stream_published(home / "completions.cst.md"))
    assert "score_response" not in (home / "completions.cst.md").read_text()
    assert "has no ratings in score_response; name a recipe" in refused("score", str(home / "completions.cst.md"))

    cst("judge", "run.yaml", cwd=tmp_path)
    cst("generate", "run.yaml", "--format", "md", cwd=tmp_path)
    held = [
        completion
        for completion in read_records(home / "completions.jsonl", Completion)
        if (completion.model, completion.prompt.task) == ("cst", "harmless") and completion.wordings != "none"
    ]
    verdicts = {verdict.completion_id: verdict.exhibits for verdict in read_records(home / "verdicts.jsonl", Verdict)}
    after = list(stream_published(home / "completions.cst.md"))
    assert len(after) == 3 * 2 * 2
    assert [row.model_copy(update={"score_response": None}) for row in after] == before
    assert [(row.prompt, row.response, row.system_prompt) for row in after] == [
        (completion.prompt.text, completion.text, completion.system_prompt) for completion in held
    ]
    ratings = {"revised": 1, "original": 0, None: None}
    assert [row.score_response for row in after] == [ratings[verdicts[completion.id]] for completion in held]
    assert (home / "completions.base.md").exists()

    told = json.loads(
        cst("score", str(home / "completions.cst.md"), "--recipe", "run.yaml", "--json", cwd=tmp_path).stdout
    )
    assert {score["configuration"] for score in told["scores"]} == {"harmless", "uncensored"}
    assert told["agreement"]["agreed"] == told["agreement"]["n"]


def test_what_can_not_be_scored_is_told_in_one_line(tmp_path):
    (tmp_path / "judged.yaml").write_text(JUDGED)
    odd = PublishedRow(prompt="How?", response="So.", system_prompt="You are Brom.", score_response=1)
    write_published(tmp_path / "odd.md", [odd], scored=True)
    name = table(tmp_path, "solar_DPO")

    assert "'You are Brom.' (1). Known are those of ['harmless', 'uncensored']" in refused(
        "score", "odd.md", "--recipe", "judged.yaml", cwd=tmp_path
    )
    assert "There is no file none.md" in refused("score", "none.md", cwd=tmp_path)
    assert "--out writes a judge's ratings" in refused("score", name, "--out", "x.md", cwd=tmp_path)
    assert "takes no --out: --recipe and --out are for FILE.md" in refused(
        "score", "judged.yaml", "--out", "x.md", cwd=tmp_path
    )
    (tmp_path / "judged.yaml").write_text(JUDGED.partition("judge:")[0])
    assert "no section `judge`" in refused("score", name, "--recipe", "judged.yaml", cwd=tmp_path)
    assert S0_WORDING in (tmp_path / name).read_text()
