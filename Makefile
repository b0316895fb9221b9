# Every target sets up .venv by itself: `make demo` in a fresh clone needs Python 3.11 or later with pip and venv.
# An interrupted set-up is noticed by the file .venv/.half-made and begun anew; a stamp is written only at its end.

SHELL := bash
PYTHON ?=
# Processes that tests are spread over; each computes on one thread, because sums differ between numbers of threads.
PROCESSES ?= 2

BIN := .venv/bin
CORE := .venv/.core-is-installed
DEV := .venv/.dev-is-installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --retries 5 --no-input -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench study docs clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

demo: $(CORE) ## the whole method on the embedded miniature: tables and a report in runs/miniature
	@$(BIN)/cst demo

test: $(DEV) ## all tests, on two processes
	@OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

check: $(DEV) ## lint, format, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright

bench: $(DEV) ## the slow measurements, saved under benchmarks/results
	@mkdir -p benchmarks/results
	@set -eu -o pipefail; for name in start_up fuzz_rendering kill_and_resume train_throughput train_memory limit generate_throughput \
	    endpoint_throughput endpoint_kills endpoint_identity damage synthesis_scale judge_integrity interval_coverage \
	    judge_error million_verdicts; do \
	  echo "== $$name" >&2; \
	  $(BIN)/python benchmarks/$$name.py | tee benchmarks/results/$$name.jsonl.partial; \
	  mv benchmarks/results/$$name.jsonl.partial benchmarks/results/$$name.jsonl; \
	done

study: $(CORE) ## the miniature anew from three pretraining seeds, against what it is to reach; over an hour, resumable
	@$(BIN)/python -m miniature_making.study --docs

docs: $(DEV) ## docs/recipes.md and docs/cli.md from the code
	@$(BIN)/python docs/generate.py

clean: ## remove .venv and all caches; runs/ stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The Python to build .venv with: the one asked for, or the first that is new enough and can make a venv.
define find_python
fits() { "$$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
  if fits "$$python"; then break; fi; python=; \
done; \
if [ -z "$$python" ]; then \
  echo "No Python 3.11 or later with venv was found (tried: $(or $(PYTHON),python3, python3.13, python3.12, python3.11, python))." >&2; \
  echo "Install one (on Debian or Ubuntu also the package python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2; \
  exit 1; \
fi
endef

# Makes .venv where there is none that works, and marks it half-made with the number of this make.
define begin
if [ -f .venv/.half-made ]; then \
  if kill -0 "$$(cat .venv/.half-made)" 2>/dev/null; then \
    echo "Another make (process $$(cat .venv/.half-made)) is setting up .venv; wait for it, or remove .venv." >&2; exit 1; \
  fi; \
  echo "The last set-up of .venv was interrupted; it is begun anew."; rm -rf .venv; \
fi; \
if [ -d .venv ] && ! $(BIN)/python -m pip --version >/dev/null 2>&1; then rm -rf .venv; fi; \
if [ ! -d .venv ]; then \
  $(find_python); \
  echo "Making .venv with $$("$$python" --version)"; \
  mkdir .venv && echo $$PPID > .venv/.half-made && "$$python" -m venv .venv; \
fi; \
echo $$PPID > .venv/.half-made
endef

# pip's own lines, without those that say that nothing is to be done. `awk` and not `grep`: no line is no failure.
SHORTENED := awk '!/already satisfied|Obtaining dependency|Using cached|metadata|^Looking|is ignored|[Uu]ninstall|existing installation|^ +━/ { print; fflush() }'

$(CORE): constraints.txt pyproject.toml
	@set -eu -o pipefail; $(begin); rm -f $(DEV); \
	echo "Installing cst and what it stands on (some minutes; 6 GB on disk with the GPU build of torch, else 2)"; \
	$(PIP) -q hatchling editables setuptools; \
	$(PIP) --no-build-isolation -e '.[capabilities]' | $(SHORTENED); \
	rm .venv/.half-made; touch $@

$(DEV): $(CORE)
	@set -eu -o pipefail; $(begin); \
	echo "Installing what tests and checks need"; \
	$(PIP) --no-build-isolation -e '.[dev]' | $(SHORTENED); \
	rm .venv/.half-made; touch $@
