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

import numpy as np
from numpy.typing import NDArray

from cst.errors import DataError

BANDS, ROWS = 25, 5
"""Texts of Jaccard index s share a band with probability 1 - (1 - s^ROWS)^BANDS: .06 at .3, .99 at .7, .9999 at .8."""

TEXTS_AT_ONCE = 5_000
"""Texts whose words are held as numbers at once."""

LEADERS = 8
"""Texts of a band's bucket that each further one is compared with; a bucket of unlike texts is no reason for n^2."""

_WORD = re.compile(r"\w+")


def words(text: str) -> frozenset[str]:
    """The words of a text in lower case; a text without any is one word."""
    return frozenset(_WORD.findall(text.lower())) or frozenset([text])


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Words in both over words in either."""
    both = len(first & second)
    return both / (len(first) + len(second) - both)


def near_duplicate_groups(texts: Sequence[str], *, threshold: float = 0.7) -> list[int]:
    """For each text the index of the first of its group; texts of a Jaccard index of `threshold` or more are linked.

    A group is all that is linked, also through others. Pairs at the threshold are missed once in a hundred times.

    Raises:
        DataError: The threshold isn't from 0.5 to 1: below, banding misses most pairs.
    """
    if not 0.5 <= threshold <= 1:
        raise DataError(f"threshold={threshold} can't be searched for; name one from 0.5 to 1.")
    parents = list(range(len(texts)))
    for keys in band_keys(texts):
        for bucket in _buckets(keys):
            _link(bucket, texts, parents, threshold)
    return [_root(index, parents) for index in range(len(texts))]


def _link(bucket: Sequence[int], texts: Sequence[str], parents: list[int], threshold: float) -> None:
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


def band_keys(texts: Sequence[str], *, seed: int = 0) -> NDArray[np.uint64]:
    """[BANDS, n]: for each band a key of each text; alike texts have equal keys in some band.

    Each row of a band is the least of a multiply-shift hash of the words (Dietzfelbinger et al. 1997).
    """
    generator = random.Random(seed)
    factors = [generator.getrandbits(64) | 1 for _ in range(BANDS * ROWS)]
    keys = np.zeros((BANDS, len(texts)), dtype=np.uint64)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        block = texts[start : start + TEXTS_AT_ONCE]
        hashes, starts = _hashed(block)
        for row, factor in enumerate(factors):
            least = np.minimum.reduceat((hashes * np.uint64(factor)) >> np.uint64(32), starts)
            band = keys[row // ROWS, start : start + len(block)]
            band[:] = (band * _MIX + least) * _MIX
    return keys


_MIX = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: spreads the numbers that are joined to a key."""


def _hashed(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The words of all texts as numbers, one text after the other, and where each text's begin."""
    numbers = [[zlib.crc32(word.encode(errors="replace")) for word in words(text)] for text in texts]
    starts = np.cumsum([0, *(len(each) for each in numbers[:-1])])
    flat = np.fromiter((number for each in numbers for number in each), dtype=np.uint64)
    return flat * _MIX ^ (flat << np.uint64(32)), starts


def _buckets(keys: NDArray[np.uint64]) -> Iterator[list[int]]:
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
