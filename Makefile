PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo detector shapes table1 table2 table3 table4 table5 reproduce dashboard predict serve profile test test-all lint format clean distclean

help: ## print this help
	@echo "CompFeat: video instance segmentation. Targets:"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make the environment in .venv (every other target does it when needed)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Installing into $(VENV); torch is large, so this takes a few minutes ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@# without what it asks for and nobody here needs: an OpenCV that wants libGL, in the place of the headless one
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps trackeval tabulate -c constraints.txt
	@touch $@

DEMO := data=shapes_easy data.root=outputs/demo/data

demo: $(READY) ## train a small network on the built-in data set, measure it, write an overlay video
	$(BIN)/python train.py recipe=demo_detector $(DEMO) hydra.run.dir=outputs/demo/detector
	$(BIN)/python train.py recipe=demo $(DEMO) weights=outputs/demo/detector/checkpoints/last.ckpt
	$(BIN)/python scripts/evaluate.py ckpt=outputs/demo/checkpoints/last.ckpt output=outputs/demo $(DEMO) data.val_split=test
	$(BIN)/python scripts/predict.py ckpt=outputs/demo/checkpoints/last.ckpt output=outputs/demo/video score=0.5 video=$$(ls -d outputs/demo/data/*/test/JPEGImages/0033)

detector: $(READY) ## the detector that networks on the built-in data set start from, less than an hour; sweeps make it by themselves
	$(BIN)/python train.py experiment=detector rerun=false

DATA ?= shapes_ablation
SEEDS ?= 0,1,2
quoted = '$(subst ','\'',$1)'# one word of the shell, whatever is in it
KEYS := seed=$(SEEDS) $(if $(WEIGHTS),$(call quoted,weights=$(WEIGHTS)))
ifneq ($(DATA),shapes_ablation)
KEYS += data=$(DATA) $(if $(ROOT),$(call quoted,data.root=$(ROOT))) $(if $(COCO),$(call quoted,data.coco.root=$(COCO)))
endif

shapes: $(READY) ## CompFeat against its baseline on hard videos of the built-in data set, four ways to measure it
	$(BIN)/python train.py sweep=shapes seed=$(SEEDS) $(ARGS)

TABLES := table1 table2 table3 table4 table5

table1: ## the paper's Table 1, images beside videos; DATA=ytvis_coco ROOT=PATH COCO=PATH WEIGHTS=coco, else built-in data
table2: ## Table 2, attention
table3: ## Table 3, correlation-based tracking
table4: ## Table 4, how support frames are chosen, and how many
table5: ## Table 5, with post-processing
$(TABLES): $(READY)
	$(BIN)/python train.py sweep=$@ $(KEYS) $(ARGS)

reproduce: ## all tables; a row that stands in several is trained once
	$(MAKE) --keep-going $(TABLES)

ENTITY ?= $(error ENTITY= your user or team on Weights & Biases)
PROJECT ?= compfeat
FOLDER ?= outputs/shapes_ablation

dashboard: $(READY) ## compare runs on Weights & Biases: make dashboard FOLDER=outputs/shapes_ablation ENTITY=NAME PROJECT=NAME
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dashboard]' -c constraints.txt
	$(BIN)/python scripts/dashboard.py $(call quoted,runs=$(FOLDER)) entity=$(ENTITY) project=$(PROJECT)

CKPT ?= coco
VIDEO ?= $(error VIDEO= a video file, a folder of images, or what else scripts/predict.py takes)
# what is missing is told before anything is installed
GIVEN := $(if $(filter predict,$(MAKECMDGOALS)),$(VIDEO))$(if $(filter dashboard,$(MAKECMDGOALS)),$(ENTITY))

predict: $(READY) ## find the objects of a video: make predict VIDEO=dog.mp4 CKPT=PATH, else torchvision's Mask R-CNN
	$(BIN)/python scripts/predict.py $(call quoted,ckpt=$(CKPT)) $(call quoted,video=$(VIDEO)) $(ARGS)

serve: $(READY) ## a page in which the objects of videos dropped into it are found: make serve CKPT=PATH, else the same
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve]' -c constraints.txt
	$(BIN)/python scripts/serve.py $(call quoted,ckpt=$(CKPT)) $(ARGS)

profile: $(READY) ## where the time of a training step and of inference goes: tables, and traces under outputs/profile
	$(BIN)/python scripts/benchmark.py training trace=outputs/profile/training.json $(ARGS)
	$(BIN)/python scripts/benchmark.py inference trace=outputs/profile/inference.json $(ARGS)

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

clean: ## remove what tools leave behind: caches and build folders
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find compfeat scripts tests -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove the environment too, and outputs with all checkpoints
	rm -rf $(VENV) outputs
