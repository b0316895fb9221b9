from functools import partial

import numpy as np
import pytest
import torch
from local_tasks import write_tasks

from cst.errors import DataError
from cst.evaluation.harness import answered
from cst.evaluation.harness_tasks import named_sets
from cst.models.loading import load_model
from cst.recipe import CapabilitySettings, CapabilityTask
from models.families import FAMILIES
from models.tiny import model_folder

PROMPTS = {"none": None, "kind/er": "You are a helpful assistant."}
FAMILY = next(family for family in FAMILIES if family.name == "chatml")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp(name) for name in ("base", "cst")}
    return {
        name: partial(
            load_model, str(model_folder(folder, family=FAMILY, vocab_size=700, max_positions=600, seed=seed))
        )
        for seed, (name, folder) in enumerate(folders.items())
    }


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    return named_sets([CapabilityTask(task=name) for name in ("both", "truthful_shares", "seven")], folder)


def settings(**more) -> CapabilitySettings:
    return CapabilitySettings(tasks="miniature", batch_size=3, **more)


def test_each_model_is_asked_each_set_under_each_system_prompt(models, sets, tmp_path) -> None:
    groups = list(answered(models, PROMPTS, sets[:2], settings(), tmp_path))
    asked = [(group[0].model, group[0].configuration, group[0].set, len(group)) for group in groups]
    assert asked == [
        (model, configuration, name, size)
        for model in ("base", "cst")
        for configuration in PROMPTS
        for name, size in (("both", 24), ("truthful_shares", 20))
    ]
    assert {a.system_prompt for group in groups for a in group if a.configuration == "none"} == {None}
    assert {a.num_fewshot for a in groups[0]} == {1, 2}
    assert len({a.logps for group in groups for a in group if a.item_id == "texts/0"}) == 4
    assert all(a.chat_template is not None for group in groups for a in group)
    assert (tmp_path / "cst" / "kind%2Fer" / "both" / "texts.jsonl").is_file()


def test_what_was_finished_is_not_asked_again_and_the_rest_comes_out_the_same(models, sets, tmp_path) -> None:
    def answers(loads, folder):
        return list(answered(loads, PROMPTS, sets[:2], settings(), folder))

    whole = answers(models, tmp_path)
    (tmp_path / "cst" / "none" / "both" / "texts.jsonl").unlink()
    asked = []

    def counted(name):
        asked.append(name)
        return models[name]()

    assert answers({name: partial(counted, name) for name in models}, tmp_path) == whole
    assert asked == ["cst"], "base is finished and isn't even loaded"


def test_the_limit_and_plain_text(models, sets, tmp_path) -> None:
    plain = settings(limit=2, apply_chat_template=False)
    base = {"base": models["base"]}
    groups = list(answered(base, PROMPTS, sets[1:2], plain, tmp_path))
    assert [len(group) for group in groups] == [2, 2]
    assert {a.chat_template for group in groups for a in group} == {None}
    assert groups[0][0].logps != groups[1][0].logps, "the system prompt stands before plain text, too"


def test_lm_eval_says_nothing_and_leaves_generators_alone(models, sets, tmp_path, capsys) -> None:
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    list(answered({"base": models["base"]}, PROMPTS, sets[:2], settings(), tmp_path))
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    told = capsys.readouterr()
    assert told.out == ""
    assert all(line.startswith("capabilities: ") for line in told.err.splitlines())


def test_a_metric_that_is_no_share_is_named_with_its_item(models, sets, tmp_path) -> None:
    with pytest.raises(DataError, match=r"Item seven/0 has acc=7\.0, which is no share of 1"):
        list(answered({"base": models["base"]}, {"none": None}, sets[2:], settings(), tmp_path))
    assert not list(tmp_path.rglob("*.jsonl"))
