import json
from pathlib import Path

from cst.commands.verbs import check, held_out_counts, power_lines, power_rows
from cst.doors import open_workshop
from cst.recipe.reading import parse_recipe

RECIPE = "name: try\nmodel: {path: miniature}\n"


def workshop(held_out: str, folder):
    return shop(f"prompts: {{held_out: [{held_out}]}}", folder)


def shop(more: str, folder):
    return open_workshop(parse_recipe(f"{RECIPE}{more}", where="test", folder=folder), folder / "run")


def test_prompts_are_counted_by_task(tmp_path):
    rows = [{"prompt": f"How do I fold paper {k}?", "task": "paper" if k < 3 else "cloth"} for k in range(5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = workshop("{kind: miniature, task: harmless, n: 40}, {kind: file, path: rows.jsonl}", tmp_path)

    assert held_out_counts(read) == {"harmless": 40, "paper": 3, "cloth": 2}
    assert [row["task"] for row in power_rows(read)] == ["harmless", "paper", "cloth"]
    assert list(tmp_path.iterdir()) == [tmp_path / "rows.jsonl"]


def test_each_task_has_a_line_that_says_what_can_be_told(tmp_path):
    heading, line = power_lines(workshop("{kind: miniature, task: harmless, n: 26}", tmp_path))
    assert "power 0.8" in heading
    assert "harmless, n 26" in line
    assert "differ by (none possible)" in line


def test_what_cannot_be_counted_yet_is_said_and_stops_nothing(tmp_path):
    for source in ("{kind: file, path: nowhere.jsonl}", "{kind: file, path: 'hub:someone/something'}"):
        (line,) = power_lines(workshop(source, tmp_path))
        assert "is not known yet" in line
        assert power_rows(workshop(source, tmp_path)) == []


def test_without_held_out_prompts_there_is_nothing_to_say(tmp_path):
    assert power_lines(shop("", tmp_path)) == []


def test_prompts_that_will_be_held_out_of_a_file_count(tmp_path):
    (tmp_path / "p.txt").write_text("\n".join(f"alpha{k} beta{k} gamma{k}" for k in range(100)))
    split = shop("prompts: {training: [{kind: file, path: p.txt}], held_out_share: 0.3}", tmp_path)
    _, held_out = split.prompts()

    assert held_out_counts(split) == {"harmless": len(held_out)}
    assert f"harmless, n {len(held_out)}:" in power_lines(split)[1]


def test_check_prints_it_and_has_it_as_json(capsys):
    check(Path("miniature"), [], as_json=False)
    assert "Differences that held-out prompts can detect" in capsys.readouterr().out
    check(Path("miniature"), [], as_json=True)
    assert {row["task"] for row in json.loads(capsys.readouterr().out)["power"]} > {"harmless", "truthfulness"}
