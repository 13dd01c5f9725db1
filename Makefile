# Every target works on a machine that has Python 3.11 or newer, git and make, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# DVC starts `python`: it must find the environment's, whether or not that is activated.
export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-faults lint format benchmark compare sensitivity peers experiments recover lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.requirements ## make the virtual environment .venv

repro: $(VENV)/.requirements ## run the whole pipeline (`dvc repro`) and print the result
	dvc repro
	python -m stages.summary

test: $(VENV)/.requirements ## run the whole test suite
	python -m pytest

test-faults: $(VENV)/.requirements ## of these, only what breaks the pipeline while it runs; prints how often it was killed
	python -m pytest -m faults -rA

lint: $(VENV)/.requirements-dev ## check style and types
	ruff check .
	ruff format --check .
	mypy

format: $(VENV)/.requirements-dev ## rewrite the code in the project's style
	ruff check --fix .
	ruff format .

benchmark: $(VENV)/.requirements ## time the training loop against the source document's, and against its arithmetic floor
	python -m benchmarks.epoch
	python -m benchmarks.rate

compare: $(VENV)/.requirements ## run every recipe on DVC's queue, for equal images and equal time, and print the tables
	python -m benchmarks.compare

sensitivity: $(VENV)/.requirements ## spoil real images step by step, plant training images: what each score makes of it
	python -m benchmarks.sensitivity
	python -m benchmarks.leak

peers: $(VENV)/.requirements-peers ## the same images through other tools: their scores, time and memory beside ours
	python -m benchmarks.peers
	python -m benchmarks.peers --images 60000 --tools ours

experiments: $(VENV)/.requirements ## one table of the experiments on this commit, best FID first
	dvc exp show --only-changed --no-pager --md --sort-by fid --drop '(models|data|stages|src|results)/'\
'|(Created|State|Executor|.*_(std|score|loss|max|min|floor|real|seen|accuracy))$$'\
'|error_scratch|error_pretrained_(10|1000|50000)$$'\
'|.*gradient|class|.*validation_fid|fid_(left|infinity)|learning_rate|close_|cas_(reverse|gap)|metrics/gan.json:(precision|recall)'

recover: $(VENV)/.requirements ## after a kill: mend what is safe to mend, and name the rest (docs/recovery.md)
	python -m stages.recover

# For Linux, macOS and Windows, Python 3.11 and newer: what differs between them carries a condition.
LOCK := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-config \
	--custom-compile-command "make lock"

lock: $(VENV)/.requirements-dev ## pin every package with its hashes, from requirements.txt and requirements-dev.txt
	$(LOCK) --output-file requirements.lock requirements.txt
	$(LOCK) --output-file requirements-dev.lock --constraint requirements.lock requirements-dev.txt

clean: ## remove the virtual environment (data and results stay)
	rm -rf $(VENV)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is too old; install Python 3.11 or newer, or: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.requirements: requirements.lock $(VENV)/.python
	python -m pip install --quiet --require-hashes --requirement $<
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.lock $(VENV)/.requirements
	python -m pip install --quiet --require-hashes --requirement $<
	@touch $@

$(VENV)/.requirements-peers: requirements-peers.txt $(VENV)/.requirements
	python -m pip install --quiet --requirement $<
	@touch $@
