"""How many times faster a batch of `cst` is than transformers' `generate` as it comes, on the same prompts, greedily.

    python benchmarks/generate_throughput.py [--cases small-real ...] [--types float32 bfloat16] [--peers alone ...]
        [--prompts configured|instructions]

64 prompts of unequal length, half of them under each of two system prompts (`configured`), or short ones under none as
files of instructions hold them (`instructions`), are answered with at most 128 tokens: once
all of them 128 long, once ending at end tokens, so that lengths differ. In float32 the answers must first be those of
one prompt at a time, token by token: all 64 for `small`, else a sample. Then ours and the peer take turns; one line of
JSON tells the ratio of their seconds (median, least, most), the seconds, and answer tokens per second. The peers:

- `alone`: `generate`, one prompt at a time. A sample over all prompt lengths is timed, its seconds scaled by tokens;
- `batched`: `generate` of all 64, left padded;
- `static`: the same with transformers' static cache, not compiled.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import mean, median

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from cst.models.decoding import decode
from cst.models.rendering import Renderer
from cst.progress import track
from cst.training.batches import tokenize
from provenance import provenance
from training_cases import VOCABULARY, Case, cases_on, options, use_threads
from training_models import MADE_UP_VOCABULARY, PROSE_VOCABULARY, SIZES, config_of, tokenizer_for
from training_rows import prose, rows_of
from training_setup import SEED

PROMPTS, NEW_TOKENS = 64, 128
SAMPLE = 8
"""Prompts that are answered one at a time, where not all are."""

QUESTION_CHARACTERS = {"configured": (40, 480), "instructions": (20, 200)}
"""Shortest and longest question: 10 to 120 tokens; and as instructions of Safety-Tuned LLaMAs' files are long."""

END_SHARE = 1 / 48
"""Share of the vocabulary that ends an answer, so that answers end after 48 tokens in the mean, or at 128."""

GOALS = {"small": 20.0, "mid": 15.0}
"""Ratios to `alone` that are aimed at."""

Answers = list[list[int]]


@dataclass(frozen=True)
class Work:
    """What is to be answered: prompts as tokens, and the tokens that end an answer."""

    model: PreTrainedModel
    prompts: list[list[int]]
    ends: frozenset[int] = frozenset()
    new_tokens: int = NEW_TOKENS


def main() -> None:
    parser = options(__doc__, steps=5)
    parser.add_argument("--types", nargs="+", choices=["float32", "bfloat16"], help="by default both; 7b: bfloat16")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--prompts", choices=QUESTION_CHARACTERS, default="configured")
    asked = parser.parse_args()
    use_threads(asked.threads)
    for device in asked.devices:
        for case in cases_on(device, asked.cases):
            for kind in asked.types or (["bfloat16"] if case.model == "7b" else ["float32", "bfloat16"]):
                for line in measure(case, kind, asked, device):
                    print(json.dumps(line), flush=True)


def measure(case: Case, kind: str, asked: argparse.Namespace, device: str) -> Iterator[dict[str, object]]:
    """The lines of one case: the check in float32, then peer by peer, with and without end tokens."""
    work = prepare(case, kind, asked, device)
    about: dict[str, object] = {"benchmark": "generate_throughput", "case": case.name, "weights": kind}
    lengths = [len(prompt) for prompt in work.prompts]
    about |= {
        "prompts": f"{asked.prompts}, {len(lengths)} of {min(lengths)} to {max(lengths)} tokens",
        "device": device,
    }
    origin = provenance(device, asked.threads)
    if kind == "float32":
        checked = work if case.model == "small" else sample_of(work)
        equal = equal_answers(ours(checked), alone(checked))
        yield about | {"check": "answers as one at a time", "equal": f"{equal} of {equal}"} | origin
    for ending in (work, replace(work, ends=end_tokens())):
        for name in asked.peers:
            goal = GOALS.get(case.model) if name == "alone" else None
            figures = race(ending, name, asked.steps, f"{case.name} in {kind} against {name}", device)
            yield about | {"peer": f"generate, {name}", "goal": goal, **figures} | origin


def prepare(case: Case, kind: str, asked: argparse.Namespace, device: str) -> Work:
    """A model with random weights, and prompts whose questions are of evenly drawn lengths."""
    generator = Random(f"questions {SEED}")
    rows = [
        row.model_copy(update={"prompt": prose(generator, generator.randint(*QUESTION_CHARACTERS[asked.prompts]))})
        for row in rows_of(case.rows, n=PROMPTS, seed=SEED, file=asked.rows_file)
    ]
    if asked.prompts == "instructions":
        rows = [row.model_copy(update={"system_prompt": None}) for row in rows]
    renderer = Renderer.for_tokenizer(tokenizer_for(rows, PROSE_VOCABULARY if asked.rows_file else MADE_UP_VOCABULARY))
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(SEED)
        model = AutoModelForCausalLM.from_config(config_of(SIZES[case.model], VOCABULARY), dtype=getattr(torch, kind))
    sequences = [row.chosen for row in tokenize(rows, renderer)]
    return Work(model.eval(), [list(sequence.tokens[: sequence.response_start]) for sequence in sequences])


def end_tokens() -> frozenset[int]:
    """END_SHARE of the vocabulary, drawn from the seed."""
    return frozenset(Random(f"ends {SEED}").sample(range(VOCABULARY), round(END_SHARE * VOCABULARY)))


def sample_of(work: Work, size: int = SAMPLE) -> Work:
    """So many prompts, evenly spread over their lengths."""
    ordered = sorted(work.prompts, key=len)
    return replace(work, prompts=[ordered[(2 * i + 1) * len(ordered) // (2 * size)] for i in range(size)])


def ours(work: Work) -> Answers:
    """All prompts in one batch of `cst`."""
    limits = [work.new_tokens] * len(work.prompts)
    found = decode(work.model, work.prompts, limits=limits, end_token_ids=work.ends)
    return [list(answer.tokens) for answer in found]


def batched(work: Work, cache: str | None = None) -> Answers:
    """All prompts in one batch of `generate`, left padded."""
    width = max(map(len, work.prompts))
    padding = [width - len(prompt) for prompt in work.prompts]
    tokens = [[0] * pad + prompt for pad, prompt in zip(padding, work.prompts, strict=True)]
    mask = [[0] * pad + [1] * (width - pad) for pad in padding]
    settings = GenerationConfig(
        max_new_tokens=work.new_tokens,
        do_sample=False,
        eos_token_id=sorted(work.ends) or None,
        pad_token_id=0,
        cache_implementation=cache,
        disable_compile=True,
    )
    inputs, seen = (torch.tensor(rows, device=work.model.device) for rows in (tokens, mask))
    with torch.inference_mode():
        whole = work.model.generate(inputs, attention_mask=seen, generation_config=settings)
    return [up_to_end(answer, work.ends) for answer in whole[:, width:].tolist()]


def up_to_end(answer: list[int], ends: frozenset[int]) -> list[int]:
    """An answer without what pads it after its end token."""
    return next((answer[: i + 1] for i, token in enumerate(answer) if token in ends), answer)


def alone(work: Work) -> Answers:
    """One prompt after the other through `generate`."""
    return [batched(replace(work, prompts=[prompt]))[0] for prompt in work.prompts]


PEERS: dict[str, Callable[[Work], Answers]] = {
    "alone": alone,
    "batched": batched,
    "static": lambda work: batched(work, "static"),
}


def equal_answers(found: Answers, expected: Answers) -> int:
    """How many answers are as expected: all.

    Raises:
        SystemExit: One isn't.
    """
    same = sum(ours == theirs for ours, theirs in zip(found, expected, strict=True))
    if same < len(expected):
        raise SystemExit(f"only {same} of {len(expected)} answers are those that generate gives one prompt at a time")
    return same


def race(work: Work, name: str, rounds: int, description: str, device: str) -> dict[str, object]:
    """Figures of ours on the whole work against a peer (`alone`: on a sample), in turns after one warm-up."""
    theirs, peer = sample_of(work) if name == "alone" else work, PEERS[name]
    turns = track(range(rounds + 1), description=description)
    answered = [(timed(ours, work, device), timed(peer, theirs, device)) for _ in turns][1:]
    lengths = [len(answer) for answer in answered[0][0].answers]
    told = {
        "answers": f"{min(lengths)} to {max(lengths)} tokens, mean {mean(lengths):.0f}",
        "timed": f"{len(theirs.prompts)} of {len(work.prompts)} prompts, over all lengths",
    }
    return told | figures([first for first, _ in answered], [second for _, second in answered])


@dataclass(frozen=True)
class Timed:
    """Answers and the seconds that they took."""

    answers: Answers
    seconds: float

    @property
    def tokens(self) -> int:
        """Of all answers, end tokens included."""
        return sum(map(len, self.answers))


def timed(answer: Callable[[Work], Answers], work: Work, device: str) -> Timed:
    """Answer, and wait until the device is done; lists of tokens are complete only then."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    answers = answer(work)
    return Timed(answers, time.perf_counter() - started)


def figures(ours: Sequence[Timed], theirs: Sequence[Timed]) -> dict[str, object]:
    """Ratios of seconds a token in neighbouring turns, seconds, answer tokens per second."""
    ratios = [(b.seconds / b.tokens) / (a.seconds / a.tokens) for a, b in zip(ours, theirs, strict=True)]
    sides = {"ours": ours, "theirs": theirs}
    return {
        "ratio": {name: round(pick(ratios), 2) for name, pick in (("median", median), ("min", min), ("max", max))},
        "n": len(ratios),
        "seconds": {name: [round(turn.seconds, 3) for turn in turns] for name, turns in sides.items()},
        "tokens_per_second": {
            name: round(sum(turn.tokens for turn in turns) / sum(turn.seconds for turn in turns), 1)
            for name, turns in sides.items()
        },
    }


if __name__ == "__main__":
    main()
