"""The miniature in this process, and behind the tests' server: are the demo's pairs the same, byte for byte?

    python benchmarks/endpoint_identity.py [--seeds 3] [--share 1.0] [--local-batch 32] [--server-batch 32]

Each seed's prompts go through synthesis twice by the demo's recipe (temperature 0.8, its judge and gates on): answered,
criticised and rewritten by the start model, and by the same weights behind an OpenAI-compatible server on 127.0.0.1,
which fails 20 % of all calls and answers what came in while it was busy as one batch. The chat model bears the start
model's name, so that nothing in the files may differ. Prints a JSON line a seed and one for the whole; exit code 1 if
files differ though both batches are 1.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import cst
from cst.chat.local import LocalChat
from cst.commands.console import read_recipe
from cst.miniature import model_path
from cst.models.loading import load_model
from cst.recipe import Recipe
from cst.recipe.models import EndpointSettings
from cst.records import Drop, ResponsePair
from cst.store import read_records
from provenance import provenance

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from chat.loopback import Loopback, Server
from chat.served import Served

FILES = ("prompts.jsonl", "pairs.jsonl", "drops.jsonl", "synthesis.json")
NAME = "miniature"
FAILURES = 0.2


@dataclass(frozen=True)
class Comparison:
    """One seed's two runs: how much was compared, what differs, and how large the server's batches were on average."""

    seed: int
    prompts: int
    pairs: int
    answers: int
    differing_files: list[str]
    differing_answers: int
    failed_calls: int
    mean_server_batch: float


def local_recipe(seed: int, share: float, batch_size: int) -> Recipe:
    """The demo's, with a share of its training prompts."""
    recipe = read_recipe(Path("miniature"), [f"seed={seed}", f"synthesis.batch_size={batch_size}"])
    sources = [source.model_copy(update={"n": round((source.n or 0) * share)}) for source in recipe.prompts.training]
    prompts = recipe.prompts.model_copy(update={"training": tuple(sources)})
    return recipe.model_copy(update={"prompts": prompts})


def endpoint_recipe(local: Recipe, url: str, **settings: object) -> Recipe:
    """The same recipe, in which all roles are a server's."""
    served = {"kind": "endpoint", "base_urls": [url], "model": NAME, "prefill": "continue_final_message"}
    patient = {"in_flight": 32, "retries": 40, "first_wait_seconds": 0.005, "longest_wait_seconds": 0.05}
    chat = EndpointSettings.model_validate({**served, **patient, **settings})
    assert local.synthesis is not None
    methods = tuple(method.model_copy(update={"author": NAME}) for method in local.synthesis.methods)
    synthesis = local.synthesis.model_copy(update={"methods": methods})
    return local.model_copy(update={"chat_models": {NAME: chat}, "synthesis": synthesis})


def trial(
    folder: Path, *, seed: int, share: float, local_batch: int, server_batch: int, **settings: object
) -> Comparison:
    """Synthesize in both ways and compare; `settings` go to the endpoint."""
    recipe = local_recipe(seed, share, local_batch)
    served = Served(LocalChat(load_model(str(model_path()), device="cpu"), name=NAME), at_once=server_batch)
    server = Server(answer=served, failures=FAILURES, seed=seed, keeps_requests=False)
    homes = folder / "local", folder / "served"
    with Loopback(server) as url:
        for recipe_, home in zip((recipe, endpoint_recipe(recipe, url, **settings)), homes, strict=True):
            cst.run(recipe_, home, until="synthesize")
    mine, theirs = (answers_of(home) for home in homes)
    return Comparison(
        seed=seed,
        prompts=len((homes[0] / "prompts.jsonl").read_bytes().splitlines()),
        pairs=len((homes[0] / "pairs.jsonl").read_bytes().splitlines()),
        answers=len(mine),
        differing_files=[name for name in FILES if len({(home / name).read_bytes() for home in homes}) > 1],
        differing_answers=sum(theirs.get(key) != text for key, text in mine.items()),
        failed_calls=server.ways.total(),
        mean_server_batch=round(sum(served.batches) / len(served.batches), 1),
    )


def answers_of(home: Path) -> dict[tuple[str, str], str]:
    """All that was said, dropped prompts' too, by prompt and step."""
    pairs = read_records(home / "pairs.jsonl", ResponsePair)
    said = {(pair.prompt.id, step.step): step.text for pair in pairs for step in pair.transcript}
    for drop in read_records(home / "drops.jsonl", Drop):
        steps = {"original": drop.original, "critique": drop.critique, "revised": drop.revised}
        said |= {(drop.prompt_id, step): text for step, text in steps.items() if text}
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the demo's 1,080 training prompts")
    parser.add_argument("--local-batch", type=int, default=32)
    parser.add_argument("--server-batch", type=int, default=32, help="the most that are answered at once")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    batches = {"local_batch": asked.local_batch, "server_batch": asked.server_batch}
    found: list[Comparison] = []
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            found.append(trial(Path(scratch), seed=seed, share=asked.share, **batches))
        print(json.dumps(asdict(found[-1])), flush=True)
    summary = {
        "benchmark": "endpoint_identity",
        "seeds": asked.seeds,
        **batches,
        "answers": sum(each.answers for each in found),
        "differing_answers": sum(each.differing_answers for each in found),
        "seeds_with_other_files": sum(bool(each.differing_files) for each in found),
        **provenance("cpu", 1),
    }
    print(json.dumps(summary))
    return int(max(batches.values()) == 1 and bool(summary["seeds_with_other_files"]))


if __name__ == "__main__":
    sys.exit(main())
