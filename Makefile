# make data: environment, data set, an example. make test: the quick tests. make test-all: everything that CI runs.
# make test-long: experiments with a real model in little.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
MAX_TOKENS ?= 32768
VARIANTS := templated_haystack symbolic_haystack
# One thread for each of the two processes: with two each, they wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: data test test-all test-long lint docs bench mini recipe real

data: .venv/core
	$(BIN)/synthctx build mdqa_synth $(VARIANTS) --max-tokens $(MAX_TOKENS)
	$(BIN)/synthctx show synthctx/mdqa_synth:templated_haystack

test: lint
	$(PYTEST)

test-all: lint docs
	$(PYTEST) -m "not long"

test-long: .venv/dev
	$(PYTEST) -m long

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/core
	$(BIN)/python benchmarks/build.py $(if $(CORPUS),--corpus $(CORPUS))

mini: .venv/dev
	$(BIN)/python experiments/miniature/run.py

recipe: .venv/dev
	$(BIN)/python experiments/recipe/run.py

real: .venv/dev
	$(BIN)/python experiments/real_model/run.py

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/dev: .venv/core
	$(PIP) torch
	$(PIP) --editable '.[dev]'
	touch $@
