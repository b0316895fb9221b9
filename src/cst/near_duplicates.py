"""Which texts say nearly the same: MinHash over their words, in bands, every match checked by its true Jaccard index.

Broder 1997 (min-wise hashing) and Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4 (banding).
Numbers of each block of texts are arrays, and bands are compared by sorting, so a million prompts need no index.
Against a few known texts, such as held-out prompts, the search is exact. This file knows texts alone.
"""

import math
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cst.errors import DataError

HASHES, FEWEST_ROWS = 125, 5
"""Numbers that a text's words come to, and how many of them are a band at least. Texts of Jaccard index s share one of
HASHES // rows bands with probability 1 - (1 - s^rows)^bands; with 5 rows that is .06 at .3, .99 at .7, .9999 at .8."""

MISSED = 0.0101
"""The share of pairs just at the threshold that banding may miss: what 5 rows miss at .7."""

TEXTS_AT_ONCE = 5_000
"""Texts whose words are held as numbers at once."""

LEADERS = 8
"""Texts of a band's bucket that each further one is compared with; a bucket of unlike texts is no reason for n^2."""

_WORD = re.compile(r"\w+")

T_co = TypeVar("T_co", covariant=True)


class Numbered(Protocol[T_co]):
    """What can be gone through in order, and looked up by number: a list, or what reads from a file."""

    def __iter__(self) -> Iterator[T_co]:
        """All of it, in order."""
        ...

    def __getitem__(self, number: int, /) -> T_co:
        """What stands at a number, counted from 0."""
        ...


def words(text: str) -> frozenset[str]:
    """The words of a text in lower case; a text without any is one word."""
    return frozenset(_WORD.findall(text.lower())) or frozenset([text])


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Words in both over words in either."""
    both = len(first & second)
    return both / (len(first) + len(second) - both)


def near_duplicate_groups(texts: Numbered[str], *, threshold: float = 0.7) -> list[int]:
    """For each text the index of the first of its group; texts of a Jaccard index of `threshold` or more are linked.

    Texts are gone through once, and looked up again where they share a key: of each at most 250 bytes are held, and no
    text. A group is all that is linked, also through others. Pairs just at the threshold are missed once in a hundred
    times at most where it is 0.7 or more, and up to every second time where it is less.

    Raises:
        DataError: The threshold isn't from 0.5 to 1: below, banding misses most pairs.
    """
    if not 0.5 <= threshold <= 1:
        raise DataError(f"threshold={threshold} can't be searched for; name one from 0.5 to 1.")
    keys = band_keys(texts, rows_of(threshold))
    parents = list(range(keys.shape[1]))
    for band in keys:
        for bucket in _buckets(band):
            _link(bucket, texts, parents, threshold)
    return [_root(index, parents) for index in range(len(parents))]


def _link(bucket: Sequence[int], texts: Numbered[str], parents: list[int], threshold: float) -> None:
    leaders: list[tuple[int, frozenset[str]]] = []
    for index in bucket:
        root = _root(index, parents)
        if any(_root(leader, parents) == root for leader, _ in leaders):
            continue
        said = words(texts[index])
        alike = (leader for leader, theirs in leaders if jaccard(theirs, said) >= threshold)
        leader = next(alike, None)
        if leader is not None:
            other = _root(leader, parents)
            parents[max(root, other)] = min(root, other)
        elif len(leaders) < LEADERS:
            leaders.append((index, said))


def _root(index: int, parents: list[int]) -> int:
    while parents[index] != index:
        parents[index] = index = parents[parents[index]]
    return index


def rows_of(threshold: float) -> int:
    """How many hashes are a band: as many as `MISSED` allows, so that few unlike texts have a key in common."""

    def missed(rows: int) -> float:
        return (1 - threshold**rows) ** (HASHES // rows)

    return max((rows for rows in range(FEWEST_ROWS, HASHES + 1) if missed(rows) <= MISSED), default=FEWEST_ROWS)


def band_keys(texts: Iterable[str], rows: int, *, seed: int = 0) -> NDArray[np.uint32]:
    """[HASHES // rows, n]: for each band a key of each text; alike texts have equal keys in some band.

    Each row of a band is the least of a multiply-shift hash of the words (Dietzfelbinger et al. 1997). Unlike texts
    have equal keys of 32 bits once in 2^32: in a million, a hundred pairs a band, which are compared in vain.
    """
    generator = random.Random(seed)
    factors = [np.uint64(generator.getrandbits(64) | 1) for _ in range(HASHES // rows * rows)]
    blocks, remaining = [np.zeros((HASHES // rows, 0), dtype=np.uint32)], iter(texts)
    while block := list(islice(remaining, TEXTS_AT_ONCE)):
        blocks.append(_keys_of_block(block, factors, rows))
    return np.concatenate(blocks, axis=1)


def _keys_of_block(texts: Sequence[str], factors: Sequence[np.uint64], rows: int) -> NDArray[np.uint32]:
    hashes, starts = _hashed(texts)
    keys = np.zeros((len(factors) // rows, len(texts)), dtype=np.uint64)
    for row, factor in enumerate(factors):
        least = np.minimum.reduceat((hashes * factor) >> _HALF, starts)
        keys[row // rows] = (keys[row // rows] * _MIX + least) * _MIX
    return (keys >> _HALF).astype(np.uint32)


_HALF = np.uint64(32)
"""The bits of a number that are dropped where 32 of 64 are enough."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: spreads the numbers that are joined to a key."""


def _hashed(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The words of all texts as numbers, one text after the other, and where each text's begin."""
    numbers = [[zlib.crc32(word.encode(errors="replace")) for word in words(text)] for text in texts]
    starts = np.cumsum([0, *(len(each) for each in numbers[:-1])])
    flat = np.fromiter((number for each in numbers for number in each), dtype=np.uint64)
    return flat * _MIX ^ (flat << _HALF), starts


def _buckets(keys: NDArray[np.uint32]) -> Iterator[list[int]]:
    """The indices of texts that have a key in common, in order, key by key."""
    order = np.argsort(keys, kind="stable")
    changes = np.flatnonzero(np.diff(keys[order]))
    starts, ends = np.append(0, changes + 1), np.append(changes + 1, len(keys))
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        yield order[start:end].tolist()


def nearest_known(texts: Iterable[str], known: Sequence[str], *, threshold: float) -> Iterator[int | None]:
    """For each text the index of the known text that is most like it, or None below `threshold` (Jaccard of words).

    Exact, at any threshold: two word sets of index t or more share a word among the rarest n - ceil(t * n) + 1 of
    each (prefix filter: Bayardo, Ma and Srikant, WWW 2007), so few known texts are compared. Only they are held.

    Raises:
        DataError: The threshold isn't above 0, and at most 1.
    """
    if not 0 < threshold <= 1:
        raise DataError(f"threshold={threshold} can't be searched for; name one above 0, and at most 1.")
    sets = [words(text) for text in known]
    uses = Counter(word for each in sets for word in each)

    def rarest(said: frozenset[str]) -> list[str]:
        by_use = sorted(said, key=lambda word: (uses[word], word))
        shared = math.ceil(threshold * len(said) - 1e-9)  # .55 * 100 is a bit over 55 in floating point
        return by_use[: len(said) - shared + 1]

    index: dict[str, list[int]] = {}
    for number, each in enumerate(sets):
        for word in rarest(each):
            index.setdefault(word, []).append(number)
    for text in texts:
        said = words(text)
        candidates = sorted({number for word in rarest(said) for number in index.get(word, ())})
        likeness, nearest = max(((jaccard(said, sets[number]), -number) for number in candidates), default=(0.0, 0))
        yield -nearest if likeness >= threshold else None
