PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DRAWS := $(VENV)/.draws
SOURCES := src tests examples benchmarks tools
# Cut into words, so that `make dev ARGS="--stack stack.yaml"` works.
ARGS ?=
FUZZ_SECONDS ?= 3600

.DEFAULT_GOAL := help
.PHONY: help setup dev check format test bench bench-quick soak clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## Create .venv with everything that development needs

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

dev: $(READY)  ## See an event reach a function: a local gateway, a function and a timer
	@$(BIN)/faas-connector dev $(ARGS)

check: $(READY)  ## Lint, formatting, strict types, floors, licences
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/licences.py

format: $(READY)  ## Bring the code into shape
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

test: $(READY)  ## Run all tests, several at a time
	$(BIN)/pytest -n auto -m 'not soak' $(ARGS)

$(DRAWS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

bench: $(DRAWS)  ## Measure everything, against peers where they are installed (long)
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(DRAWS)  ## The hot path only, in few rounds: under two minutes
	$(BIN)/python -m benchmarks --quick $(ARGS)

soak: $(READY)  ## The tests that take hours: mistakes put in, long fuzzing, many kills
	$(BIN)/python tools/mutants.py
	$(BIN)/pytest -s -m soak tests/integration/test_many_events.py
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest -n 2 -m 'soak or fuzz' --timeout=0 \
		--ignore tests/integration/test_many_events.py $(ARGS)

clean:  ## Remove what was built
	rm -rf $(VENV) dist build .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
