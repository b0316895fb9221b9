"""Groups are those of all pairs compared one by one, but for the few that banding is allowed to miss."""

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import DataError
from cst.near_duplicates import HASHES, MISSED, band_keys, jaccard, near_duplicate_groups, nearest_known, rows_of, words

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


@given(threshold=st.floats(0.7, 1))
def test_bands_are_as_long_as_they_may_be_to_miss_one_pair_in_a_hundred(threshold):
    def missed(rows: int) -> float:
        return (1 - threshold**rows) ** (HASHES // rows)

    chosen = rows_of(threshold)
    assert missed(chosen) <= MISSED
    assert all(missed(rows) > MISSED for rows in range(chosen + 1, HASHES + 1))


def test_bands_are_short_where_any_would_miss_pairs():
    assert [rows_of(threshold) for threshold in (0.5, 0.6, 0.7, 0.9, 1.0)] == [5, 5, 5, 10, 125]


def test_at_a_high_threshold_pairs_just_above_it_are_missed_as_seldom_as_is_told():
    """Of 40 words, 2 changed are a Jaccard index of 38/42 = .905; 3 changed one of 37/43 = .86."""
    generator = random.Random(0)
    texts = [" ".join(f"w{generator.getrandbits(16)}" for _ in range(40)) for _ in range(1000)]
    near = [changed(text, 2, generator) for text in texts]
    far = [changed(text, 3, generator) for text in texts]
    found = near_duplicate_groups([*texts, *near], threshold=0.9)[1000:]

    assert sum(group == index for index, group in enumerate(found)) >= 980
    assert near_duplicate_groups([*texts, *far], threshold=0.9) == list(range(2000))


def test_a_group_bears_the_index_of_its_first_text():
    assert near_duplicate_groups(["a b c", "x y", "C, B: a!", "y x"]) == [0, 1, 0, 1]
    assert near_duplicate_groups([]) == []


def test_texts_without_words_are_told_apart():
    assert near_duplicate_groups(["?", "!", "?"]) == [0, 1, 0]


def test_keys_do_not_hang_on_the_texts_beside():
    texts = [f"text number {n}" for n in range(50)]

    assert (band_keys(texts, 5)[:, 10:20] == band_keys(texts[10:20], 5)).all()


def test_a_threshold_that_banding_would_miss_is_refused():
    with pytest.raises(DataError, match=r"threshold=0\.3 is not supported by the search"):
        near_duplicate_groups(["a"], threshold=0.3)


class Drawn:
    """Texts that are made anew whenever one is looked at; which were looked up is noted."""

    def __init__(self, n: int) -> None:
        self._n = n
        self.looked_up: set[int] = set()

    def __iter__(self) -> Iterator[str]:
        return (drawn(number) for number in range(self._n))

    def __getitem__(self, number: int) -> str:
        self.looked_up.add(number)
        return drawn(number)


def drawn(number: int) -> str:
    """12 words; every hundredth text has those of the one before, and one more."""
    if number % 100 == 99:
        return f"{drawn(number - 1)} please"
    generator = random.Random(number)
    return " ".join(f"w{generator.getrandbits(14)}" for _ in range(12))


def test_many_texts_take_little_memory_and_only_those_that_share_a_key_are_looked_up():
    """100 bytes a text of keys, for a moment twice, and 50 of groups: a million take far less than a gigabyte."""
    n = 30_000
    texts = Drawn(n)
    tracemalloc.start()
    groups = near_duplicate_groups(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert groups == [number - (number % 100 == 99) for number in range(n)]
    alike = {number for number in range(n) if number % 100 >= 98}
    assert texts.looked_up >= alike
    assert len(texts.looked_up) < 1.1 * len(alike)
    assert peak < n * 300 + 2**23


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
    with pytest.raises(DataError, match="choose one above 0 and at most 1"):
        list(nearest_known(["a"], ["a"], threshold=threshold))
