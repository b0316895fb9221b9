"""A recipe's words to the judge that they name, at the gates of synthesis as in evaluation."""

from pathlib import Path

import pytest

from chat.loopback import Loopback, Server
from cst.errors import DataError, ModelError, RecipeError
from cst.evaluation.evidence import read_evidence
from cst.evaluation.report import render_report
from cst.pipeline import steps
from cst.recipe_file import parse_recipe
from cst.records import Completion, Prompt, Side
from cst.run_folder import RunFolder
from cst.store import write_records
from cst.workshop import Workshop
from models.tiny_classifiers import classifier_folder

STORM, CALM = "A storm came.", "A calm came."
PROMPT = Prompt(id="p", text="What came?", task="harmless")
MODERATION = "{kind: moderation, first_wait_seconds: 0.002}"


def workshop(folder: Path, judge: str, *, models: str = "{}", more: str = "") -> Workshop:
    text = f"name: try\nmodel: {{path: miniature}}\nchat_models: {models}\njudge: {judge}\n{more}"
    return Workshop(parse_recipe(text, where="try.yaml"), folder)


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
    low, high = (gate(workshop(tmp_path, classifier(folder, threshold=edge))) for edge in (-100, 100))

    assert (low, high) == ([Side.ORIGINAL] * 2, [Side.REVISED] * 2)


def test_a_served_guard_at_the_gate(tmp_path: Path, server: str) -> None:
    shop = workshop(tmp_path, "{kind: guard, model: guard, style: llama_guard}", models=served(server))

    assert gate(shop) == [Side.ORIGINAL, Side.REVISED]


@pytest.mark.parametrize("style", ["gpt_oss_safeguard", "dynaguard", "llama_guard"])
def test_a_local_guard_that_babbles_has_no_opinion(tmp_path: Path, style: str) -> None:
    text = "{conversation}\nsafe or unsafe?" if style == "llama_guard" else "Be good."
    shop = workshop(
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
    assert gate(workshop(tmp_path, MODERATION)) == [Side.ORIGINAL, Side.REVISED]

    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert gate(workshop(tmp_path, MODERATION)) == [Side.ORIGINAL, Side.REVISED]


def test_a_panel_at_the_gate(tmp_path: Path, server: str) -> None:
    guard = "{kind: guard, model: guard, style: llama_guard}"
    members = f"[{MODERATION}, {guard}, {{kind: refusal_phrases}}]"
    majority, unanimous = (
        gate(workshop(tmp_path, f"{{kind: panel, members: {members}, rule: {rule}}}", models=served(server)))
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
    shop = workshop(
        tmp_path,
        f"{{kind: guard, model: guard, style: {style}{given}}}",
        models="{guard: {kind: local, path: miniature}}",
    )
    with pytest.raises(RecipeError, match=says):
        gate(shop)


def test_a_policy_that_is_not_there_and_a_classifier_that_is_none(tmp_path: Path) -> None:
    shop = workshop(
        tmp_path,
        f"{{kind: guard, model: guard, style: dynaguard, policy: {tmp_path / 'none.md'}}}",
        models="{guard: {kind: local, path: miniature}}",
    )
    with pytest.raises(DataError, match=r"none\.md"):
        gate(shop)
    with pytest.raises(DataError, match=r"none\.md"):
        _ = shop.judged_by
    with pytest.raises(ModelError, match="No model folder"):
        gate(workshop(tmp_path, classifier(tmp_path / "none", threshold=0)))


def test_verdicts_hang_on_the_weights_the_policy_and_the_guards_settings(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "classifier", seed=0)
    guard = f"{{kind: guard, model: guard, style: dynaguard, policy: {policy(tmp_path)}}}"
    judge = f"{{kind: panel, members: [{classifier(folder, threshold=0)}, {guard}]}}"

    def sources(url: str = "http://127.0.0.1:9/v1", model: str = "m") -> list[object]:
        models = f"{{guard: {{kind: endpoint, base_urls: ['{url}'], model: {model}}}}}"
        return workshop(tmp_path, judge, models=models).judged_by

    before = sources()
    assert sources() == before
    assert sources(model="other") != before
    policy(tmp_path, "Be better.")
    after_policy = sources()
    assert after_policy != before
    classifier_folder(folder, seed=1)
    assert sources() != after_policy


def test_without_a_judge_there_is_nothing_that_verdicts_hang_on(tmp_path: Path) -> None:
    assert workshop(tmp_path, "null").judged_by == [None]


def test_a_panels_agreement_is_a_file_of_the_run_and_a_table_of_its_report(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "classifier")
    members = f"[{classifier(folder, threshold=0)}, {{kind: refusal_phrases}}]"
    shop = workshop(
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
