PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo detector shapes table1 table2 table3 table4 table5 test test-all lint format clean distclean

help: ## print this help
	@echo "CompFeat: video instance segmentation. Targets:"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make the environment in .venv (every other target does it when needed)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Installing into $(VENV); torch is large, so this takes a few minutes ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

DEMO := data=shapes_easy data.root=outputs/demo/data

demo: $(READY) ## train a small network on the built-in data set, measure it, write an overlay video
	$(BIN)/python train.py recipe=detector $(DEMO) hydra.run.dir=outputs/demo/detector
	$(BIN)/python train.py recipe=demo $(DEMO) weights=outputs/demo/detector/checkpoints/last.ckpt
	$(BIN)/python scripts/evaluate.py ckpt=outputs/demo/checkpoints/last.ckpt output=outputs/demo $(DEMO) data.val_split=test
	$(BIN)/python scripts/predict.py ckpt=outputs/demo/checkpoints/last.ckpt output=outputs/demo/video score=0.5 video=$$(ls -d outputs/demo/data/*/test/JPEGImages/0033)

DETECTOR := outputs/shapes/detector/checkpoints/last.ckpt

$(DETECTOR): $(READY)
	$(BIN)/python train.py recipe=detector data=shapes_easy data.generator.wavelength=8.0 trainer.max_epochs=20 hydra.run.dir=outputs/shapes/detector

detector: $(DETECTOR) ## the detector that comparisons and probes on the built-in data set start from, 10 minutes

shapes: $(DETECTOR) ## CompFeat against its baseline on hard videos of the built-in data set, three seeds each
	$(BIN)/python train.py sweep=shapes
	for run in outputs/shapes/*-[0-9]; do \
	  for how in "scores soft" "cues soft" "scores hard" "paper_cues hard"; do set -- $$how; \
	    $(BIN)/python scripts/evaluate.py ckpt=$$run/checkpoints/last.ckpt data=shapes_hard data.val_split=test tracker=$$1 labels=$$2 output=$$run/$$1-$$2 || exit; \
	  done; \
	done
	$(BIN)/python scripts/report.py runs=outputs/shapes

table1: ## the paper's Table 1: make table1 ARGS="data.root=PATH data.coco.root=PATH weights=coco"
table2: ## Table 2, attention: the keys of table1 and data=ytvis_coco
table3: ## Table 3, correlation-based tracking
table4: ## Table 4, how support frames are chosen in training
table5: ## Table 5, with post-processing
table1 table2 table3 table4 table5: $(READY)
	$(BIN)/python train.py sweep=$@ $(ARGS)

test: $(READY) ## run the test suite, a process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

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
