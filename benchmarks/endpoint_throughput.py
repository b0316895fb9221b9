"""10,000 requests, 64 in flight, a server that fails 30 % of all calls: what is lost, and what bookkeeping costs.

    python benchmarks/endpoint_throughput.py [--requests 10000] [--latency 0.03] [--rounds 3]

The server is the tests' loopback server in a process of its own; each call takes `--latency` seconds there. Three
clients take turns on a fresh one, all with 64 threads, the same requests and the openai package underneath:

- `cst`: an `Endpoint` behind a journal (every call and answer on disk, checksums, budget, balance, pace, retries).
- `bare`: `client.chat.completions.create` in a loop until a text comes, with no wait and no journal. It is the
  same server without bookkeeping, and pays for as many failed calls: `ratio` compares with it.
- `calm_bare`, `calm_cst`: both on a server that never fails, for what bookkeeping costs there: `calm_ratio`.

Waits before retries are short here (0.05 s doubling up to 1 s), so that the run's end isn't one unlucky request's wait.
Prints a JSON line a run and one for the whole; exit code 1 if anything was lost, double or partial.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

from cst.chat.base import ChatRequest, request_seed
from cst.chat.complete import complete
from cst.chat.endpoint import Endpoint
from cst.chat.journalled import Journalled
from cst.journal import Journal
from cst.recipe.models import EndpointSettings, Prices
from cst.records import Message, Sampling
from provenance import provenance

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from chat.loopback import is_whole

SERVER = Path(__file__).parents[1] / "tests" / "chat" / "loopback.py"
IN_FLIGHT = 64
SAMPLING = Sampling(temperature=0.7, max_new_tokens=200, seed=1)
PRICES = Prices(prompt_per_million=1.0, completion_per_million=2.0)

Client = Callable[[str, Sequence[ChatRequest]], list[str]]


@contextmanager
def serving(counts: dict[str, Any], *, failures: float, latency: float, seed: int) -> Iterator[str]:
    """A server's address; what it counted is in `counts` afterwards."""
    words = ["--failures", str(failures), "--latency", str(latency), "--seed", str(seed)]
    process = subprocess.Popen(
        [sys.executable, str(SERVER), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    counts |= json.loads(process.communicate()[0])


def requests_of(n: int) -> list[ChatRequest]:
    """Requests of some 600 characters, each another."""
    text = "Tell me how bread is baked, step by step, for a class of twelve. " * 9
    return [ChatRequest(id=f"r{i}", messages=(Message(role="user", content=f"{text}{i}"),)) for i in range(n)]


def with_cst(url: str, requests: Sequence[ChatRequest]) -> list[str]:
    settings = EndpointSettings(
        kind="endpoint",
        base_urls=(url,),
        model="loopback-1",
        in_flight=IN_FLIGHT,
        retries=30,
        first_wait_seconds=0.05,
        longest_wait_seconds=1.0,
    )
    with (
        tempfile.TemporaryDirectory() as scratch,
        Journal(Path(scratch) / "journal.sqlite") as journal,
        Endpoint(settings, name="cst") as endpoint,
    ):
        chat = Journalled(endpoint, journal, prices=PRICES)
        return [reply.text for reply in complete(chat, requests, SAMPLING, description="cst")]


def bare(url: str, requests: Sequence[ChatRequest]) -> list[str]:
    http = openai.DefaultHttpx2Client(follow_redirects=False)
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, http_client=http)

    def ask(request: ChatRequest) -> str:
        messages: Any = [message.model_dump() for message in request.messages]
        while True:
            try:
                completion = client.chat.completions.create(
                    model="loopback-1",
                    messages=messages,
                    temperature=SAMPLING.temperature,
                    top_p=SAMPLING.top_p,
                    max_tokens=SAMPLING.max_new_tokens,
                    seed=request_seed(request, SAMPLING),
                )
                (choice,) = completion.choices
                text = choice.message.content
                if choice.finish_reason == "stop" and not choice.message.tool_calls and is_whole(text or ""):
                    return str(text)
            except (openai.OpenAIError, ValueError, AttributeError, TypeError, IndexError):
                continue

    with client, ThreadPoolExecutor(IN_FLIGHT) as pool:
        return list(pool.map(ask, requests))


def measure(name: str, client: Client, requests: Sequence[ChatRequest], **server: float) -> dict[str, Any]:
    """One run: seconds, what was lost, double or partial, and how the server failed."""
    counts: dict[str, Any] = {}
    with serving(counts, **server) as url:
        started = time.perf_counter()
        texts = client(url, requests)
        seconds = time.perf_counter() - started
    asked = [request.messages[0].content for request in requests]
    whole = [is_whole(text) and said in text for text, said in zip(texts, asked, strict=True)]
    return {
        "client": name,
        "seconds": round(seconds, 2),
        "requests_per_second": round(len(requests) / seconds),
        "calls": counts["asked"],
        "ways_to_fail": len(counts["ways"]),
        "lost": len(requests) - len(counts["answered"]),
        "double": sum(times > 1 for times in counts["answered"].values()),
        "partial": whole.count(False),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0.03, help="seconds a call takes the server")
    parser.add_argument("--failures", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    requests = requests_of(asked.requests)
    runs: dict[str, list[dict[str, Any]]] = {"bare": [], "cst": [], "calm_bare": [], "calm_cst": []}
    for seed in range(asked.rounds):
        for name in runs:
            client = with_cst if name.endswith("cst") else bare
            failures = 0.0 if name.startswith("calm") else asked.failures
            run = measure(name, client, requests, failures=failures, latency=asked.latency, seed=seed)
            runs[name].append(run)
            print(json.dumps(run), flush=True)

    def ratios(of: str, to: str) -> dict[str, float]:
        found = [one["seconds"] / other["seconds"] for one, other in zip(runs[to], runs[of], strict=True)]
        return {"median": round(statistics.median(found), 3), "low": round(min(found), 3), "high": round(max(found), 3)}

    ours = [*runs["cst"], *runs["calm_cst"]]
    wrong = sum(run[fault] for run in ours for fault in ("lost", "double", "partial"))
    summary = {
        "benchmark": "endpoint_throughput",
        "requests": asked.requests,
        "in_flight": IN_FLIGHT,
        "latency_seconds": asked.latency,
        "failures": asked.failures,
        "rounds": asked.rounds,
        "ratio": ratios("cst", "bare"),
        "calm_ratio": ratios("calm_cst", "calm_bare"),
        "lost_double_or_partial": wrong,
        **provenance("cpu", 1),
    }
    print(json.dumps(summary))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
