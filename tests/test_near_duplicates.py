"""Groups are those of all pairs compared one by one, but for the few that banding is allowed to miss."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.near_duplicates import band_keys, jaccard, near_duplicate_groups, nearest_known, words

WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8).map(" ".join)


def linked_one_by_one(texts: list[str], threshold: float) -> list[int]:
    groups = list(range(len(texts)))
    for later in range(len(texts)):
        for earlier in range(later):
            if jaccard(words(texts[earlier]), words(texts[later])) >= threshold:
                low, high = sorted((groups[earlier], groups[later]))
                groups = [low if group == high else group for group in groups]
    return groups


@given(texts=st.lists(WORDS, max_size=8))
def test_equal_word_sets_are_one_group_and_no_group_is_larger_than_it_may_be(texts):
    groups = near_duplicate_groups(texts, threshold=0.8)
    allowed = linked_one_by_one(texts, 0.8)

    assert all(allowed[group] == allowed[index] for index, group in enumerate(groups))
    same = linked_one_by_one(texts, 1.0)
    assert all(groups[group] == groups[index] for index, group in enumerate(same))


def changed(text: str, n: int, generator: random.Random) -> str:
    parts = text.split()
    for position in generator.sample(range(len(parts)), n):
        parts[position] = f"new{generator.getrandbits(32)}"
    return " ".join(parts)


def test_pairs_above_the_threshold_are_found_and_those_below_are_not():
    """Of 20 words, 2 changed are a Jaccard index of 18/22 = .82, and 5 changed one of 15/25 = .6."""
    generator = random.Random(0)
    texts = [" ".join(f"w{generator.getrandbits(16)}" for _ in range(20)) for _ in range(500)]
    near = [changed(text, 2, generator) for text in texts]
    far = [changed(text, 5, generator) for text in texts]

    assert near_duplicate_groups([*texts, *near]) == [*range(500), *range(500)]
    assert near_duplicate_groups([*texts, *far]) == list(range(1000))


def test_a_group_bears_the_index_of_its_first_text():
    assert near_duplicate_groups(["a b c", "x y", "C, B: a!", "y x"]) == [0, 1, 0, 1]
    assert near_duplicate_groups([]) == []


def test_texts_without_words_are_told_apart():
    assert near_duplicate_groups(["?", "!", "?"]) == [0, 1, 0]


def test_keys_do_not_hang_on_the_texts_beside():
    texts = [f"text number {n}" for n in range(50)]

    assert (band_keys(texts)[:, 10:20] == band_keys(texts[10:20])).all()


def test_a_threshold_that_banding_would_miss_is_refused():
    with pytest.raises(DataError, match=r"threshold=0\.3 can't be searched for"):
        near_duplicate_groups(["a"], threshold=0.3)


def test_many_texts_take_little_memory_beside_their_own():
    """200 bytes a text of keys and 8 of parents, so that a million take far less than a gigabyte."""
    generator = random.Random(0)
    texts = [" ".join(f"w{generator.getrandbits(14)}" for _ in range(12)) for _ in range(20_000)]
    tracemalloc.start()
    near_duplicate_groups(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20_000 * 400 + 2**24


@given(
    texts=st.lists(WORDS, max_size=6),
    known=st.lists(WORDS, max_size=6),
    threshold=st.sampled_from([0.2, 1 / 3, 0.5, 0.7, 1.0]),
)
def test_the_nearest_known_text_is_that_of_all_compared_one_by_one(texts, known, threshold):
    """Exactly, at any threshold: filtering by rare words must lose none."""
    sets = [words(each) for each in known]

    def nearest(text: str) -> int | None:
        likeness, index = max(((jaccard(words(text), each), -i) for i, each in enumerate(sets)), default=(0.0, 0))
        return -index if likeness >= threshold and sets else None

    assert list(nearest_known(texts, known, threshold=threshold)) == [nearest(text) for text in texts]


def test_a_text_just_at_the_threshold_is_near_whatever_floating_point_makes_of_it():
    """55 of 100 words: .55 * 100 is 55.00000000000001, and the shared words are the most frequent ones."""
    common, rare = [f"a{i}" for i in range(55)], [f"b{i}" for i in range(45)]
    known = [" ".join(common), " ".join([*common, "other"])]

    assert list(nearest_known([" ".join(common + rare)], known, threshold=0.55)) == [0]


@pytest.mark.parametrize("threshold", [0.0, 1.1, -1.0])
def test_a_threshold_that_no_index_can_reach_or_miss_is_refused(threshold):
    with pytest.raises(DataError, match="name one above 0, and at most 1"):
        list(nearest_known(["a"], ["a"], threshold=threshold))
