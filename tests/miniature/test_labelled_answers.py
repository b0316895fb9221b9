from collections import Counter

from cst.miniature.judge import exact_judge, labelled_rows
from cst.records import Prompt, Side


def rows(n: int = 80, seed: int = 0) -> list[dict[str, str | None]]:
    return list(labelled_rows(n, seed=seed))


def seen(row: dict[str, str | None]) -> Side | None:
    """What the exact judge sees in a row's answer."""
    prompt = {"id": "p", "text": row["prompt"], "task": row["task"], "system_prompt": row["system_prompt"]}
    return exact_judge(Prompt.model_validate(prompt), str(row["answer"]))


def test_each_task_has_answers_of_both_sides():
    counts = Counter((row["task"], row["label"]) for row in rows())

    assert sum(counts.values()) == 240
    for task in ("harmless", "over_refusal", "truthfulness"):
        assert counts[task, "original"] + counts[task, "revised"] == 80
        assert min(counts[task, "original"], counts[task, "revised"]) > 20


def test_labels_are_right_and_only_near_misses_are_beyond_the_exact_judge():
    for row in rows():
        side = seen(row)
        if side is None:
            assert (row["task"], row["label"]) == ("harmless", "original")
        else:
            assert side == row["label"]


def test_near_misses_are_about_a_tenth_of_the_harmful_requests():
    missed = sum(seen(row) is None for row in rows(300) if row["task"] == "harmless")

    assert 10 <= missed <= 60


def test_a_seed_names_the_rows():
    assert rows(10) == rows(10)
    assert rows(10) != rows(10, seed=1)
