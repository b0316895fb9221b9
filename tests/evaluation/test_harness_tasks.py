import pytest
from local_tasks import write_tasks

from cst.errors import DataError, RecipeError
from cst.evaluation.harness_tasks import named_sets, sets_of_items
from cst.miniature.prompts import capability_items
from cst.recipe import CapabilityTask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def test_a_set_is_a_task_or_the_tasks_of_a_group(folder) -> None:
    letters, both = named_sets([CapabilityTask(task="letters"), CapabilityTask(task="both")], folder)
    assert [task.task_name for task in letters.tasks] == ["letters"]
    assert [(task.task_name, len(task.eval_docs)) for task in both.tasks] == [("letters", 4), ("texts", 20)]


def test_worked_examples_are_the_tasks_own_unless_asked_for(folder) -> None:
    wanted = [CapabilityTask(task="letters"), CapabilityTask(task="texts", num_fewshot=3)]
    sets = named_sets(wanted, folder)
    assert [asked.tasks[0].get_config("num_fewshot") for asked in sets] == [2, 3]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"task": "written"}, "Task written is of the kind generate_until; only multiple_choice and loglikelihood"),
        ({"task": "letters", "metric": "f1"}, r"letters has no metric 'f1' that is a mean .* only \['acc', 'acc_norm'"),
        ({"task": "equal"}, r"group equal weighs its tasks equally, .* instead: \['letters', 'texts'\]"),
        ({"task": "a_tag"}, r"'a_tag' is a tag of lm-eval's, .* name its tasks: \['tagged'\]"),
        ({"task": "truthful_shares", "num_fewshot": 2}, "takes no others .* the recipe asks for 2. Leave num_fewshot"),
    ],
)
def test_what_can_not_be_scored_item_by_item_is_refused_by_name(folder, wanted, says) -> None:
    with pytest.raises(RecipeError, match=says):
        named_sets([CapabilityTask.model_validate(wanted)], folder)


def test_a_task_whose_data_can_not_be_had_is_one_line(folder) -> None:
    with pytest.raises(DataError, match=r"^lm-eval can't load its task 'lost' \(FileNotFoundError: .*HF_HOME.*$"):
        named_sets([CapabilityTask(task="lost")], folder)


def test_an_unknown_task_is_named_with_those_near_it(folder) -> None:
    with pytest.raises(RecipeError, match=r"no task 'hellaswagg'; near it are hellaswag"):
        named_sets([CapabilityTask(task="hellaswagg")], folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(RecipeError, match=r"include_path=.*elsewhere is no folder"):
        named_sets([CapabilityTask(task="letters")], tmp_path / "elsewhere")


def test_the_miniatures_items_are_tasks_of_their_own() -> None:
    items = capability_items()
    sets = sets_of_items(items)
    assert [asked.name for asked in sets] == ["arc_mini", "hellaswag_mini", "mmlu_mini", "truthfulqa_mini"]
    (task,) = sets[1].tasks
    first = task.eval_docs[0]
    item = next(item for item in items if item.set == "hellaswag_mini")
    assert (task.doc_to_text(first), task.doc_to_target(first)) == (item.question, item.answer)
    assert task.doc_to_choice(first) == list(item.choices)
