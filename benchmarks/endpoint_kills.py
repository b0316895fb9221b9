"""Kill a process that asks an endpoint at random moments, run it again, and compare what it ends with.

    python benchmarks/endpoint_kills.py --kills 200

A child asks the tests' loopback server, which fails 30 % of all calls, for a list of answers behind a journal. One run
goes through undisturbed. Then runs are killed with SIGKILL at random moments and begun again until they end by
themselves. After each kill the journal is opened: what it holds may never be asked for again. Prints one JSON line a
run that ended, and one for the whole; exit code 1 if replies differ by a byte or an answered request was asked again.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cst.chat.base import ChatRequest
from cst.chat.endpoint_wire import body_of
from cst.chat.journal import Journal
from cst.recipe.models import EndpointSettings
from cst.records import Message, Sampling

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from chat.loopback import Loopback, Server

SAMPLING = Sampling(temperature=1.0, max_new_tokens=50, seed=4)
IN_FLIGHT = 8

CHILD = """
import sys
sys.path.append(sys.argv[4])
from pathlib import Path
from cst.chat.asking import complete
from cst.chat.endpoint import Endpoint
from cst.chat.journalled import Journalled
from cst.chat.journal import Journal
from cst.store import write_records
from endpoint_kills import SAMPLING, requests_of, settings_for
url, folder, n = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with Journal(folder / "journal.sqlite") as journal, Endpoint(settings_for(url), name="author") as endpoint:
    print("asking", flush=True)
    replies = complete(Journalled(endpoint, journal), requests_of(n), SAMPLING, description="ask")
write_records(folder / "replies.jsonl", replies)
"""


def requests_of(n: int) -> list[ChatRequest]:
    """Requests, each another."""
    return [ChatRequest(id=f"r{i}", messages=(Message(role="user", content=f"Bake bread {i}."),)) for i in range(n)]


def settings_for(url: str) -> EndpointSettings:
    return EndpointSettings(
        kind="endpoint",
        base_urls=(url,),
        model="loopback-1",
        in_flight=IN_FLIGHT,
        retries=40,
        first_wait_seconds=0.005,
        longest_wait_seconds=0.05,
    )


def names_of(requests: Sequence[ChatRequest]) -> dict[str, str]:
    """A request's id to the name by which the server counts it."""
    bodies = {request.id: body_of(request, SAMPLING, settings_for("http://any/v1")) for request in requests}
    return {i: hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() for i, body in bodies.items()}


@dataclass
class Outcome:
    """What came of runs that were killed: `kills` in all, and what went wrong."""

    kills: int = 0
    runs: int = 0
    differing: int = 0
    asked_again: list[str] = field(default_factory=list)


def child(url: str, folder: Path, n: int, kill_after: float | None) -> bool:
    """Run the child, killed some seconds after it began to ask; whether it ended by itself."""
    words = [sys.executable, "-c", CHILD, url, str(folder), str(n), str(Path(__file__).parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            _, said = process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return False
    if process.returncode:
        raise RuntimeError(said[-2000:])
    return True


def trial(folder: Path, *, kills: int, n: int, seconds: float, seed: int) -> Outcome:
    """Killed and begun again, until so many kills are done and the last run has ended.

    `seconds` bounds the time from a run's first call to its death.
    """
    outcome, draw, server = Outcome(), random.Random(seed), Server(failures=0.3, latency_seconds=0.01, seed=seed)
    names = names_of(requests_of(n))
    with Loopback(server) as url:
        whole = folder / "whole"
        child(url, whole, n, None)
        expected = (whole / "replies.jsonl").read_bytes()
        while outcome.kills < kills:
            run = folder / f"run-{outcome.runs}"
            answered: dict[str, int] = {}
            ended = False
            while not ended:
                ended = child(url, run, n, draw.uniform(0, seconds) if outcome.kills < kills else None)
                outcome.kills += not ended
                outcome.asked_again += [i for i, times in answered.items() if server.asked[names[i]] != times]
                answered = _answered(run / "journal.sqlite", server, names)
            outcome.runs += 1
            outcome.differing += (run / "replies.jsonl").read_bytes() != expected
    return outcome


def _answered(path: Path, server: Server, names: dict[str, str]) -> dict[str, int]:
    """The requests that the journal has answers to, and how often the server was asked for each so far."""
    with Journal(path) as journal:
        calls = journal.calls()
    return {call.what: server.asked[names[call.what]] for call in calls if call.outcome == "answered"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0, help="the longest life after a run's first call")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        done = trial(Path(scratch), kills=asked.kills, n=asked.requests, seconds=asked.seconds, seed=asked.seed)
    summary = {
        "benchmark": "endpoint_kills",
        "kills": done.kills,
        "runs_that_ended": done.runs,
        "requests": asked.requests,
        "in_flight": IN_FLIGHT,
        "runs_that_differ": done.differing,
        "answered_and_asked_again": len(done.asked_again),
    }
    print(json.dumps(summary))
    return 1 if done.differing or done.asked_again else 0


if __name__ == "__main__":
    sys.exit(main())
