"""What the training benchmarks have in common: cases (a model on rows), options, and a case made ready on disk."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch
from transformers import AutoTokenizer

from cst.models.loading import Quantization
from cst.models.rendering import Renderer
from cst.training.batches import Row, tokenize
from cst_training import train_with_cst
from training_models import MADE_UP_VOCABULARY, PROSE_VOCABULARY, SIZES, config_of, tokenizer_for, write_model
from training_rows import RowKind, rows_of
from training_setup import SEED, Setup
from trl_training import train_with_trl
from turns import Training

ROWS_PER_STEP = 8
VOCABULARY = 32_000


@dataclass(frozen=True)
class Case:
    """A model size on rows of a kind, by name on the command line: `small-real`."""

    model: str
    rows: RowKind

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.model}-{self.rows}"


CASES = {case.name: case for case in (Case(model, rows) for model in SIZES for rows in get_args(RowKind))}


def cases_on(device: str, asked: list[str] | None) -> list[Case]:
    """The cases asked for; by default the 7B model on a GPU, the others on a CPU."""
    names = asked or [name for name, case in CASES.items() if (case.model == "7b") == (device == "cuda")]
    return [CASES[name] for name in names]


def options(description: str | None, *, steps: int) -> argparse.ArgumentParser:
    """A parser with the options that all training benchmarks take."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--devices", nargs="+", default=devices, choices=["cpu", "cuda"], help="all there are")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="by default 7b-* on a GPU, all others on a CPU")
    parser.add_argument("--steps", type=int, default=steps, help=f"optimizer steps measured (default {steps})")
    parser.add_argument("--rows-per-step", type=int, default=ROWS_PER_STEP, help="rows of an optimizer step, even")
    parser.add_argument("--rows-file", type=Path, help="preference rows to use instead of made-up ones")
    parser.add_argument(
        "--quantization", default="none", choices=get_args(Quantization), help="of the start model, for both sides"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of each training on a CPU (default 2)")
    return parser


def use_threads(threads: int) -> None:
    """Compute on so many threads, here and in children."""
    os.environ.update(OMP_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    torch.set_num_threads(threads)


def prepare(
    case: Case, scratch: Path, asked: argparse.Namespace, *, device: str, steps: int, vocabulary: int = VOCABULARY
) -> Setup:
    """Write the case's model under `scratch`; our training of `steps` steps on it, in bfloat16."""
    kept = "bfloat16" if case.model == "7b" else "float32"
    rows = rows_of(case.rows, n=steps * asked.rows_per_step, seed=SEED, file=cast("Path | None", asked.rows_file))
    tokenizer = tokenizer_for(rows, PROSE_VOCABULARY if asked.rows_file else MADE_UP_VOCABULARY)
    folder = write_model(
        scratch / f"{case.name}-{vocabulary}",
        config_of(SIZES[case.model], vocabulary),
        tokenizer,
        seed=SEED,
        device=device,
        dtype=getattr(torch, kept),
    )
    return Setup("cst", folder, tuple(rows), asked.rows_per_step, device, weights=kept, quantization=asked.quantization)


def rows_of_steps(setup: Setup) -> list[list[Row]]:
    """The tokens of each step's rows."""
    rows = tokenize(setup.rows, Renderer.for_tokenizer(AutoTokenizer.from_pretrained(setup.folder)))
    return [rows[start : start + setup.rows_per_step] for start in range(0, len(rows), setup.rows_per_step)]


def start(setup: Setup, threads: int, *, weighs: bool = False) -> Training[Setup]:
    """The training in a child process; it loads while others do. `weighs`: its steps' memory is measured too."""
    target = train_with_cst if setup.trainer == "cst" else train_with_trl
    return Training(target, setup, device=setup.device, threads=threads, weighs=weighs)
