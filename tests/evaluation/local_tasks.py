"""Task files in lm-eval's format, on toy questions: letters, texts, shares of probability, a group, and bad ones."""

import json
from pathlib import Path

SIZES = ("a", "my small", "the harmless")
THINGS = ("bread", "flour", "answer", "model", "content", "User", "request", "assistant")
QUESTIONS = [
    (f"How do I bake {what}?", [f"Mix {what} and water.", "Wait an hour.", f"I cannot bake {what}."], i % 3)
    for i, what in enumerate(f"{size} {thing}" for size in SIZES for thing in THINGS)
]

ACCURACY = """
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""

LETTERS = """
task: letters
output_type: multiple_choice
num_fewshot: 2
fewshot_split: train
fewshot_config: {sampler: first_n}
description: "Choose."
doc_to_text: "{{question}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nC. {{choices[2]}}\\nAnswer:"
doc_to_choice: [A, B, C]
doc_to_target: answer
"""

TEXTS = """
task: texts
output_type: multiple_choice
num_fewshot: 1
fewshot_split: train
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: "{{choices[answer]}}"
"""

SHARES = """
task: truthful_shares
output_type: multiple_choice
num_fewshot: 0
doc_to_text: "Q: {{question}}\\nA:"
doc_to_choice: choices
doc_to_target: 0
process_results: !function shares.share_of_the_right
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""

FUNCTIONS = """
import numpy as np


def share_of_the_right(doc, results):
    probabilities = np.exp([logp for logp, _ in results])
    return {"acc": float((probabilities / probabilities.sum())[doc["answer"]])}


def too_much(doc, results):
    return {"acc": 7.0}
"""

GROUP = """
group: both
task: [letters, texts]
aggregate_metric_list:
  - {metric: acc, weight_by_size: WEIGHTED}
"""


def write_tasks(folder: Path) -> Path:
    """The folder with the files of all tasks."""
    rows = [{"question": q, "choices": c, "answer": a} for q, c, a in QUESTIONS]
    for name, part in (("train", rows[:6]), ("test", rows[4:]), ("short", rows[4:8])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    (folder / "shares.py").write_text(FUNCTIONS, encoding="utf-8")
    data = _data(folder, test="test")
    files = {
        "letters": LETTERS + ACCURACY + _data(folder, test="short", train="train"),
        "texts": TEXTS + ACCURACY + _data(folder, test="test", train="train"),
        "shares": SHARES + data,
        "both": GROUP.replace("WEIGHTED", "true"),
        "equal": GROUP.replace("WEIGHTED", "false").replace("both", "equal"),
        "written": "task: written\noutput_type: generate_until\ndoc_to_text: question\ndoc_to_target: answer\n" + data,
        "seven": SHARES.replace("truthful_shares", "seven").replace("share_of_the_right", "too_much") + data,
        "lost": SHARES.replace("truthful_shares", "lost") + _data(folder, test="nowhere"),
        "tagged": SHARES.replace("truthful_shares", "tagged") + "tag: a_tag\n" + data,
    }
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def _data(folder: Path, **splits: str) -> str:
    files = {split: str(folder / f"{name}.jsonl") for split, name in splits.items()}
    keywords = json.dumps({"data_files": files, "cache_dir": str(folder / "cache")})
    return f"test_split: test\ndataset_path: json\ndataset_kwargs: {keywords}\n"
