PYTHON ?= python3
VENV ?= .venv
DEMO := outputs/demo
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format clean distclean

help: ## print this help
	@echo "CompFeat: video instance segmentation. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make the environment in .venv (every other target does it when needed)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Installing into $(VENV); torch is large, so this takes a few minutes ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

demo: $(READY) ## train a small network on the built-in data set, measure it, write an overlay video
	$(BIN)/python train.py experiment=demo data.root=$(DEMO)/data
	$(BIN)/python scripts/evaluate.py ckpt=$(DEMO)/checkpoints/best.ckpt output=$(DEMO) data.root=$(DEMO)/data
	$(BIN)/python scripts/predict.py ckpt=$(DEMO)/checkpoints/best.ckpt output=$(DEMO) video=$$(ls -d $(DEMO)/data/shapes-*/valid/JPEGImages/0003)

test: $(READY) ## run the test suite
	$(BIN)/python -m pytest -q

test-all: $(READY) ## run the test suite with the slow tests
	$(BIN)/python -m pytest -q -m ""

lint: $(READY) ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove outputs and caches, keep the environment
	rm -rf outputs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find compfeat scripts tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove the environment too
	rm -rf $(VENV)
