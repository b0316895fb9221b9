"""What callers give becomes conversations: several turns, a string is one, and what is no text is named."""

import numpy as np
import pytest

from cst.errors import DataError
from cst.evals import ConversationBuilder
from cst.evals.conversations import conversations, texts_of

BUILD = ConversationBuilder().build


def contents(user_texts, assistant_texts) -> list[list[tuple[str, str]]]:
    return [[(turn.role, turn.content) for turn in talk] for talk in conversations(user_texts, assistant_texts)]


def test_a_conversation_is_its_exchanges_one_after_another() -> None:
    assert BUILD("How are you?", "Well.") == "\n\nHuman: How are you?\n\nAssistant: Well."
    assert BUILD(["Hi.", "And now?"], ["Hello.", "Tea."]) == BUILD("Hi.", "Hello.") + BUILD("And now?", "Tea.")


def test_braces_in_a_text_stay_what_they_are() -> None:
    assert BUILD("{answer}", "{prompt}") == "\n\nHuman: {answer}\n\nAssistant: {prompt}"


def test_each_item_is_a_conversation_of_one_turn_or_of_several() -> None:
    assert contents(["Hi.", ["a?", "b?"]], ["Hello.", ["A.", "B."]]) == [
        [("user", "Hi."), ("assistant", "Hello.")],
        [("user", "a?"), ("assistant", "A."), ("user", "b?"), ("assistant", "B.")],
    ]


def test_a_string_is_one_turn_and_not_its_letters() -> None:
    assert contents("Hi", "Yo") == contents(["Hi"], ["Yo"]) == [[("user", "Hi"), ("assistant", "Yo")]]
    assert len(conversations(list("Hi"), list("Yo"))) == 2


@pytest.mark.parametrize("listed", [tuple, iter, np.array])
def test_any_ordered_collection_of_texts_will_do(listed) -> None:
    assert texts_of(listed(["b", "a"]), "texts") == ["b", "a"]


@pytest.mark.parametrize(
    ("user_texts", "assistant_texts", "says"),
    [
        (["a", "b"], ["c"], "user_texts has 2 items, assistant_texts has 1. Give an answer"),
        (["x", ["a", "b"]], ["y", "c"], r"user_texts\[1\] has 2 items, assistant_texts\[1\] has 1"),
        ([], [], "user_texts is empty"),
        (["a"], [[]], r"assistant_texts\[0\] is empty"),
        (None, ["a"], "user_texts is NoneType, not text or a list of texts"),
        (["a", "b"], ["c", 3], r"assistant_texts\[1\] is int, not text"),
        ([["a", "b"]], [["c", None]], r"assistant_texts\[0\]\[1\] is NoneType, not text: 'None'"),
        ({"a": "b"}, ["c"], "user_texts is dict"),
        ({"a", "b"}, ["c", "d"], "user_texts is set"),
        (b"ab", ["c"], "user_texts is bytes"),
    ],
)
def test_what_is_no_conversation_is_refused_by_its_place(user_texts, assistant_texts, says) -> None:
    with pytest.raises(DataError, match=says):
        conversations(user_texts, assistant_texts)


@pytest.mark.parametrize(("user_texts", "assistant_texts"), [(["a", "b"], "c"), ([], []), ([["a"]], ["b"])])
def test_the_builder_refuses_the_same(user_texts, assistant_texts) -> None:
    with pytest.raises(DataError):
        BUILD(user_texts, assistant_texts)
