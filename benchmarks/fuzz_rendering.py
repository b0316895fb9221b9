"""A million hostile strings through the renderer, over every template family: how many forge a control token?

    python benchmarks/fuzz_rendering.py [--strings 1000000] [--processes 2] [--seed 0]

Prints one line of JSON, and exits with 1 if any text forged a control token or was refused, or any response wasn't
given back. Families, tokenizers and strings are those of the tests.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cst.models.rendering import Renderer
from models.families import FAMILIES, tokenizer_of
from models.fuzz import Tally, fuzz


def fuzz_family(index: int, *, strings: int, seed: int) -> Tally:
    """One family's share, with random numbers of its own."""
    family = FAMILIES[index]
    renderer = Renderer.for_tokenizer(tokenizer_of(family))
    return fuzz(family, renderer, Random(f"{seed} {family.name}"), strings=strings)


def main() -> int:
    """Run all families and print the sums."""
    parser = argparse.ArgumentParser(description="Hostile strings through the renderer.")
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    share = -(-asked.strings // len(FAMILIES) // 5) * 5 + 5
    started = time.perf_counter()
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        tallies = list(pool.map(partial(fuzz_family, strings=share, seed=asked.seed), range(len(FAMILIES))))
    sums = {name: sum(asdict(tally)[name] for tally in tallies) for name in asdict(Tally())}
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({"benchmark": "fuzz_rendering", "families": len(FAMILIES), "seconds": seconds, **sums}))
    return int(any(sums[name] for name in ("refused", "forged", "not_given_back")))


if __name__ == "__main__":
    sys.exit(main())
