"""Finds near-duplicate texts: banded MinHash over words, each match checked by its exact Jaccard index.

Broder 1997 (min-wise hashing) and Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4 (banding).
Bands are compared by sorting arrays, so a million prompts need no index. The search against a few known texts, such as
held-out prompts, is exact. This file only knows texts.
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
"""MinHash values of a text, and the fewest values in a band. Texts with Jaccard index s share one of HASHES // rows
bands with probability 1 - (1 - s^rows)^bands; with 5 rows that is .06 at .3, .99 at .7, .9999 at .8."""

MISSED = 0.0101
"""The share of pairs just at the threshold that banding may miss: the value of 5 rows at .7."""

TEXTS_AT_ONCE = 5_000
"""Texts hashed at once."""

LEADERS = 8
"""In a band's bucket, each text is compared with at most this many, so a bucket of unlike texts does not cost n^2."""

_WORD = re.compile(r"\w+")

T_co = TypeVar("T_co", covariant=True)


class Numbered(Protocol[T_co]):
    """Items that can be iterated and looked up by number: a list, or a reader of a file."""

    def __iter__(self) -> Iterator[T_co]:
        """All items in order."""
        ...

    def __getitem__(self, number: int, /) -> T_co:
        """The item at a number, counted from 0."""
        ...


def words(text: str) -> frozenset[str]:
    """The words of a text in lower case; a text without words counts as one word."""
    return frozenset(_WORD.findall(text.lower())) or frozenset([text])


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Shared words over all words of both texts."""
    both = len(first & second)
    return both / (len(first) + len(second) - both)


def near_duplicate_groups(texts: Numbered[str], *, threshold: float = 0.7) -> list[int]:
    """For each text, the index of the first text of its group; texts with Jaccard index >= `threshold` are linked.

    Texts are read once, and again if they share a key; at most 250 bytes per text are held. A group contains all
    directly or indirectly linked texts. Pairs just at the threshold are missed in at most 1 % of cases if it is 0.7 or
    more, and in up to 50 % if it is less.

    Raises:
        DataError: The threshold is not from 0.5 to 1. Below 0.5, banding misses most pairs.
    """
    if not 0.5 <= threshold <= 1:
        raise DataError(f"threshold={threshold} is not supported by the search; choose one from 0.5 to 1.")
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
    """Hashes per band: as many as `MISSED` allows, so that few unlike texts share a key."""

    def missed(rows: int) -> float:
        return (1 - threshold**rows) ** (HASHES // rows)

    return max((rows for rows in range(FEWEST_ROWS, HASHES + 1) if missed(rows) <= MISSED), default=FEWEST_ROWS)


def band_keys(texts: Iterable[str], rows: int, *, seed: int = 0) -> NDArray[np.uint32]:
    """Keys [HASHES // rows, n]: one per band and text; similar texts have equal keys in some band.

    Each row of a band is the minimum of a multiply-shift hash over the words (Dietzfelbinger et al. 1997). Unlike texts
    share a 32-bit key once in 2^32: among a million texts, about a hundred needless comparisons per band.
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
"""The bits that are dropped where 32 of 64 are enough."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: mixes the values that form a key."""


def _hashed(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the words of all texts, concatenated, and the offset at which each text begins."""
    numbers = [[zlib.crc32(word.encode(errors="replace")) for word in words(text)] for text in texts]
    starts = np.cumsum([0, *(len(each) for each in numbers[:-1])])
    flat = np.fromiter((number for each in numbers for number in each), dtype=np.uint64)
    return flat * _MIX ^ (flat << _HALF), starts


def _buckets(keys: NDArray[np.uint32]) -> Iterator[list[int]]:
    """Indices of texts that share a key, in order, key by key."""
    order = np.argsort(keys, kind="stable")
    changes = np.flatnonzero(np.diff(keys[order]))
    starts, ends = np.append(0, changes + 1), np.append(changes + 1, len(keys))
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        yield order[start:end].tolist()


def nearest_known(texts: Iterable[str], known: Sequence[str], *, threshold: float) -> Iterator[int | None]:
    """For each text, the index of the most similar known text, or None below `threshold` (Jaccard index of words).

    The search is exact: two word sets with index t or more share a word among the rarest n - ceil(t * n) + 1 of each
    (prefix filter: Bayardo, Ma and Srikant, WWW 2007), so few known texts are compared. Only known texts are held.

    Raises:
        DataError: The threshold is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise DataError(f"threshold={threshold} is not supported by the search; choose one above 0 and at most 1.")
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
