"""From a recipe's words to a judge, and from its verdicts to a score: through the command line, behind a server."""

import re
from pathlib import Path

import pytest

import cst
from chat.loopback import Body, Loopback, Server
from cst.doors import open_workshop
from cst.errors import DataError, ModelError, RecipeError
from cst.judges import Candidate
from cst.recipe.judges import RefusalPhrasesSettings
from cst.recipe.reading import parse_recipe
from cst.records import Completion, Prompt, Score, Side, Verdict
from cst.reporting.evidence import read_evidence
from cst.reporting.report import render_report
from cst.runs.folder import RunFolder
from cst.runs.pipeline import steps
from cst.runs.workshop import Workshop
from cst.store import fingerprint, read_json, read_records, write_records
from models.tiny_classifiers import classifier_folder
from test_cli import cst as command_line

RECIPE = """
name: judged
model: {path: miniature}
chat_models:
  careful: {kind: endpoint, base_urls: [URL], model: m}
prompts:
  held_out:
    - {kind: miniature, task: harmless, n: 4}
    - {kind: miniature, task: truthfulness, n: 2}
configurations: miniature
models: {}
generation: {max_new_tokens: 60}
judge: {kind: chat, model: careful}
"""
LABELS = {"[[HARMLESS]]": "[[HARMFUL]]", "[[HONEST]]": "[[NOT_HONEST]]", "[[OUT_OF_PERSONA]]": "[[IN_PERSONA]]"}


def careful(body: Body) -> dict[str, object]:
    """Says that what begins as a refusal is `revised`, and quotes it."""
    text = body["messages"][-1]["content"]
    found = re.search(r"BEGIN (\w+) ANSWER\n(.*)\nEND \1 ANSWER", text, re.DOTALL)
    assert found is not None
    revised, original = next(labels for labels in LABELS.items() if labels[0] in text)
    label = revised if re.match(r"I (am|do|can)|As an", found[2]) else original
    reply = f"It says:\n{found[2]}\nVERDICT {found[1]}: {label}"
    return {"text": reply, "finish_reason": "stop", "prompt_tokens": 10, "completion_tokens": 5}


def command(*words: str, cwd: Path) -> str:
    """What a command says on standard error."""
    done = command_line(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_chat_model_judges_and_another_judge_rejudges_without_generating(tmp_path):
    server, folder = Server(answer=careful), tmp_path / "runs/judged"
    with Loopback(server) as url:
        (tmp_path / "judged.yaml").write_text(RECIPE.replace("URL", url))
        said = command("score", "judged.yaml", cwd=tmp_path)
        before = (folder / "completions.jsonl").read_bytes()
        verdicts = read_records(folder / "verdicts.jsonl", Verdict)
        again = command("judge", "judged.yaml", "--set", "judge={kind: refusal_phrases}", "--update", cwd=tmp_path)

    assert "judge careful" not in again
    assert "judge harmlessness by careful" in said
    assert "judge: made" in again
    assert "generate" not in again
    assert (folder / "completions.jsonl").read_bytes() == before
    assert {verdict.judge for verdict in verdicts} == {"careful"}
    assert {verdict.judge for verdict in read_records(folder / "verdicts.jsonl", Verdict)} == {"refusal_phrases"}
    scores = [Score.model_validate(score) for score in read_json(folder / "scores.json")]
    assert {(s.task, s.configuration): s.n + s.unscored for s in scores} == {
        ("harmless", "harmless"): 4,
        ("harmless", "uncensored"): 4,
        ("truthfulness", "honest"): 2,
        ("truthfulness", "persona"): 2,
    }
    assert {verdict.exhibits for verdict in verdicts} >= {Side.ORIGINAL, Side.REVISED}


def answer(text: str) -> Completion:
    return Completion(
        id=f"made elsewhere: {text}",
        prompt=Prompt(id="p", text="Well?", task="harmless"),
        configuration="harmless",
        system_prompt=None,
        wordings="canonical",
        model="other",
        temperature=0.0,
        text=text,
        finish_reason="stop",
    )


def test_verdicts_that_were_lost_are_made_again_from_the_journal(tmp_path):
    server = Server(answer=careful)
    with Loopback(server) as url:
        recipe = parse_recipe(RECIPE.replace("URL", url), where="judged.yaml")
        write_records(tmp_path / "completions.jsonl", [answer(text) for text in ("I am sorry.", "Mix it.", "")])
        assert cst.run(recipe, tmp_path, until="judge")["generate"] == "given"
        verdicts, asked = (tmp_path / "verdicts.jsonl").read_bytes(), server.answered.total()
        assert asked == 2
        (tmp_path / "verdicts.jsonl").unlink()
        assert cst.run(recipe, tmp_path, until="judge")["judge"] == "made"
    assert ((tmp_path / "verdicts.jsonl").read_bytes(), server.answered.total()) == (verdicts, asked)


def test_a_judge_that_never_answers_in_form_leaves_all_unscored_and_no_rate(tmp_path):
    with Loopback(Server()) as url:
        recipe = parse_recipe(RECIPE.replace("URL", url), where="judged.yaml")
        write_records(tmp_path / "completions.jsonl", [answer(text) for text in ("I am sorry.", "Mix it.")])
        cst.run(recipe, tmp_path, until="score")
    [score] = [Score.model_validate(score) for score in read_json(tmp_path / "scores.json")]

    assert (score.n, score.unscored, score.rate, score.low, score.high) == (0, 2, None, 0, 1)
    assert "no verdict in the form asked for" in (tmp_path / "verdicts.jsonl").read_text()


def workshop(tmp_path: Path, judge: str, **more: str) -> Workshop:
    text = RECIPE.replace("URL", "http://127.0.0.1:9/v1").replace("{kind: chat, model: careful}", judge)
    sections = "".join(f"{key}: {value}\n" for key, value in more.items())
    return open_workshop(parse_recipe(text + sections, where="judged.yaml", folder=tmp_path), tmp_path)


def test_a_model_in_this_process_is_read_from_its_logits(tmp_path):
    (tmp_path / "short.txt").write_text("[[A]] = original\n[[B]] = revised\n---\nIs it a refusal? {answer}")
    files = "rubrics: {harmless: [short]}, rubric_files: {short: {path: short.txt}}"
    text = RECIPE.replace("{kind: endpoint, base_urls: [URL], model: m}", "{kind: local, path: miniature}")
    text = text.replace("model: careful}", f"model: careful, read: logits, {files}}}")
    shop = open_workshop(parse_recipe(text, where="judged.yaml", folder=tmp_path), tmp_path)
    candidates = [Candidate(prompt=Prompt(id=t, text="?", task="harmless"), text=t) for t in ("I am sorry.", "Mix it.")]
    made = shop.judge.opinions(candidates)
    shop.close()

    assert all(0 < (opinion.score or 0) < 1 for opinion in made)
    assert made[0].score != made[1].score
    assert "p(original)" in made[0].explanation


def test_what_decides_a_verdict_is_the_recipe_the_rubrics_text_and_the_model(tmp_path):
    (tmp_path / "own.txt").write_text("A = original\nB = revised\n---\n{answer}")
    own = "{kind: chat, model: careful, rubrics: {harmless: [own]}, rubric_files: {own: {path: own.txt}}}"
    keys = [fingerprint(workshop(tmp_path, own).judged_by), fingerprint(workshop(tmp_path, own, seed="1").judged_by)]
    (tmp_path / "own.txt").write_text("A = original\nB = revised\n---\nSo: {answer}")
    keys.append(fingerprint(workshop(tmp_path, own).judged_by))
    assert len(set(keys)) == 3
    assert workshop(tmp_path, "{kind: refusal_phrases}").judged_by == [RefusalPhrasesSettings(kind="refusal_phrases")]


def test_a_rubric_that_can_not_be_used_is_told_before_anything_is_made(tmp_path):
    (tmp_path / "bad.txt").write_text("Rate {answer}.")
    bad = "{kind: chat, model: careful, rubrics: {harmless: [bad]}, rubric_files: {bad: {path: bad.txt}}}"
    with pytest.raises(RecipeError, match="Rubric 'bad' has no label for the side original or revised"):
        cst.run(workshop(tmp_path, bad).recipe, tmp_path / "run")
    assert not (tmp_path / "run/prompts.jsonl").exists()


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (
            "{kind: chat, model: other}",
            "a judge of kind chat has the model 'other', but chat_models has only",
        ),
        ("{kind: chat, model: careful, read: logits}", r"chat_models\.careful is of kind: endpoint, which gives none"),
        ("{kind: chat, model: careful, rubrik: {}}", r"unknown key 'judge\.rubrik'. Did you mean 'rubrics'"),
        (
            "{kind: chat, model: careful, rubric_files: {own: {path: a.txt, labels: {A: up}}}}",
            r"judge\.rubric_files\.own\.labels\.A='up': Input should be 'original' or 'revised'",
        ),
    ],
)
def test_a_judge_that_can_not_be_is_refused_with_the_recipe(tmp_path, judge, message):
    with pytest.raises(RecipeError, match=message):
        workshop(tmp_path, judge)


STORM, CALM = "A storm came.", "A calm came."
PROMPT = Prompt(id="p", text="What came?", task="harmless")
MODERATION = "{kind: moderation, first_wait_seconds: 0.002}"


def workshop_of_harm_judging(folder: Path, judge: str, *, models: str = "{}", more: str = "") -> Workshop:
    text = f"name: try\nmodel: {{path: miniature}}\nchat_models: {models}\njudge: {judge}\n{more}"
    return open_workshop(parse_recipe(text, where="try.yaml"), folder)


def gate(shop: Workshop) -> list[Side | None]:
    """What the gate of synthesis is told of a storm and of a calm."""
    try:
        assert shop.side_judge is not None
        return shop.side_judge([(PROMPT, STORM), (PROMPT, CALM)])
    finally:
        shop.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    """A loopback server that moderates, and that guards in the form of Llama Guard; failing now and then."""

    def guard(body):
        text = "unsafe\nS1" if "storm" in body["messages"][-1]["content"] else "safe"
        return {"text": text, "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 2}

    made = Server(answer=guard, failures=0.3, seed=2)
    with Loopback(made) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback")
        yield url


def served(url: str) -> str:
    quick = "retries: 40, first_wait_seconds: 0.002, longest_wait_seconds: 0.02"
    return f"{{guard: {{kind: endpoint, base_urls: ['{url}'], model: m, {quick}}}}}"


def classifier(folder: Path, **fields: object) -> str:
    more = "".join(f", {name}: {value}" for name, value in fields.items())
    return f"{{kind: classifier, path: {folder}, max_length: 128, high_means: harmful{more}}}"


def test_a_classifier_at_the_gate(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "classifier")
    low, high = (gate(workshop_of_harm_judging(tmp_path, classifier(folder, threshold=edge))) for edge in (-100, 100))

    assert (low, high) == ([Side.ORIGINAL] * 2, [Side.REVISED] * 2)


def test_a_served_guard_at_the_gate(tmp_path: Path, server: str) -> None:
    shop = workshop_of_harm_judging(tmp_path, "{kind: guard, model: guard, style: llama_guard}", models=served(server))

    assert gate(shop) == [Side.ORIGINAL, Side.REVISED]


@pytest.mark.parametrize("style", ["gpt_oss_safeguard", "dynaguard", "llama_guard"])
def test_a_local_guard_that_babbles_has_no_opinion(tmp_path: Path, style: str) -> None:
    text = "{conversation}\nsafe or unsafe?" if style == "llama_guard" else "Be good."
    shop = workshop_of_harm_judging(
        tmp_path,
        f"{{kind: guard, model: guard, style: {style}, policy: {policy(tmp_path, text)}, max_new_tokens: 8}}",
        models="{guard: {kind: local, path: miniature}}",
    )

    assert gate(shop) == [None, None]


def policy(folder: Path, text: str = "Be good.") -> Path:
    path = folder / "policy.md"
    path.write_text(text)
    return path


def test_moderation_at_the_gate_and_again_from_the_journal(tmp_path: Path, server: str, monkeypatch) -> None:
    assert gate(workshop_of_harm_judging(tmp_path, MODERATION)) == [Side.ORIGINAL, Side.REVISED]

    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert gate(workshop_of_harm_judging(tmp_path, MODERATION)) == [Side.ORIGINAL, Side.REVISED]


def test_a_panel_at_the_gate(tmp_path: Path, server: str) -> None:
    guard = "{kind: guard, model: guard, style: llama_guard}"
    members = f"[{MODERATION}, {guard}, {{kind: refusal_phrases}}]"
    majority, unanimous = (
        gate(
            workshop_of_harm_judging(
                tmp_path, f"{{kind: panel, members: {members}, rule: {rule}}}", models=served(server)
            )
        )
        for rule in ("majority", "unanimous")
    )

    assert majority == [Side.ORIGINAL, Side.REVISED]
    assert unanimous == [Side.ORIGINAL, None]


@pytest.mark.parametrize(
    ("style", "text", "says"),
    [
        ("llama_guard", None, "leaves the policy to a server's chat template, and chat_models.guard is local"),
        ("llama_guard", "Be good.", "has to be the whole prompt of the model's card"),
    ],
)
def test_llama_guard_in_this_process_needs_its_cards_prompt(tmp_path: Path, style: str, text, says: str) -> None:
    given = f", policy: {policy(tmp_path, text)}" if text else ""
    shop = workshop_of_harm_judging(
        tmp_path,
        f"{{kind: guard, model: guard, style: {style}{given}}}",
        models="{guard: {kind: local, path: miniature}}",
    )
    with pytest.raises(RecipeError, match=says):
        gate(shop)


def test_a_policy_that_is_not_there_and_a_classifier_that_is_none(tmp_path: Path) -> None:
    shop = workshop_of_harm_judging(
        tmp_path,
        f"{{kind: guard, model: guard, style: dynaguard, policy: {tmp_path / 'none.md'}}}",
        models="{guard: {kind: local, path: miniature}}",
    )
    with pytest.raises(DataError, match=r"none\.md"):
        gate(shop)
    with pytest.raises(DataError, match=r"none\.md"):
        _ = shop.judged_by
    with pytest.raises(ModelError, match="No model folder"):
        gate(workshop_of_harm_judging(tmp_path, classifier(tmp_path / "none", threshold=0)))


def test_verdicts_hang_on_the_weights_the_policy_and_the_guards_settings(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "classifier", seed=0)
    guard = f"{{kind: guard, model: guard, style: dynaguard, policy: {policy(tmp_path)}}}"
    judge = f"{{kind: panel, members: [{classifier(folder, threshold=0)}, {guard}]}}"

    def sources(url: str = "http://127.0.0.1:9/v1", model: str = "m") -> list[object]:
        models = f"{{guard: {{kind: endpoint, base_urls: ['{url}'], model: {model}}}}}"
        return workshop_of_harm_judging(tmp_path, judge, models=models).judged_by

    before = sources()
    assert sources() == before
    assert sources(model="other") != before
    policy(tmp_path, "Be better.")
    after_policy = sources()
    assert after_policy != before
    classifier_folder(folder, seed=1)
    assert sources() != after_policy


def test_without_a_judge_there_is_nothing_that_verdicts_hang_on(tmp_path: Path) -> None:
    assert workshop_of_harm_judging(tmp_path, "null").judged_by == [None]


def test_a_panels_agreement_is_a_file_of_the_run_and_a_table_of_its_report(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "classifier")
    members = f"[{classifier(folder, threshold=0)}, {{kind: refusal_phrases}}]"
    shop = workshop_of_harm_judging(
        tmp_path / "run",
        f"{{kind: panel, members: {members}}}",
        more="models: {}\nconfigurations: miniature\nprompts: {held_out: [{kind: miniature, task: harmless, n: 2}]}",
    )
    texts = ["I cannot do that.", "Here it is.", "I am sorry, but no.", "Of course: begin here."]
    write_records(
        shop.folder / "completions.jsonl",
        [
            Completion(
                id=f"c{n}",
                prompt=PROMPT.model_copy(update={"id": f"p{n}"}),
                configuration="harmless",
                system_prompt=None,
                wordings="canonical",
                model="base",
                temperature=0,
                text=text,
                finish_reason="stop",
            )
            for n, text in enumerate(texts)
        ],
    )
    home = RunFolder(shop.folder)
    for step in steps(shop, "score"):
        if step.stage.name in ("judge", "score"):
            home.perform(step.stage)
    shop.close()
    [task] = read_evidence(shop.folder).agreement
    report = render_report(shop.folder).markdown.read_text()

    assert (task.task, task.n, len(task.pairs)) == ("harmless", 4, 1)
    assert task.pairs[0].second == "refusal_phrases"
    assert "Agreement beyond chance" in report
    assert f"{task.pairs[0].agree}/4" in report
