# Every target works on a machine that has Python 3.11 or newer, git and make, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# By their paths: make 3.81, which macOS ships, looks for simple commands on its own PATH. Quoted: paths can have spaces.
PY := "$(BIN)/python"
DVC := "$(BIN)/dvc"
# DVC starts `python`: it must find the environment's, whether or not that is activated.
export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help repository setup repro test test-quick test-faults lint format docs benchmark compare worth parts sensitivity peers experiments recover lock \
	clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Said before anything is installed: DVC works in a git repository only, and a ZIP of the project is none.
repository:
	@git rev-parse --git-dir >/dev/null || { echo "error: git can't work in this folder (above, git says why);" \
		"where this is a ZIP of the project: git init && git add -A && git commit -m start, or git clone" >&2; exit 1; }

setup: $(VENV)/.requirements ## make the virtual environment .venv

repro: repository $(VENV)/.requirements ## run the whole pipeline (`dvc repro`) and print the result
	$(DVC) repro
	$(PY) -m stages.summary
	@echo "dvc and python are in $(VENV)/bin; to call them by name: source $(VENV)/bin/activate"

test: repository $(VENV)/.requirements ## run the whole test suite, on two cores
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-quick: $(VENV)/.requirements ## the tests that take under a minute together, for the inner loop
	$(PY) -m pytest -n 2 --dist loadfile -m "not smoke and not faults and not slow"

test-faults: $(VENV)/.requirements ## of these, only what breaks the pipeline while it runs; prints how often it was killed
	$(PY) -m pytest -m faults -rA

lint: $(VENV)/.requirements-dev ## check style and types
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

format: $(VENV)/.requirements-dev ## rewrite the code in the project's style
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

docs: $(VENV)/.requirements ## write the parts of README.md and docs/ that come from files
	$(PY) -m stages.docs

benchmark: $(VENV)/.requirements ## time the training loops against other loops, public scripts, and the arithmetic floor
	$(PY) -m benchmarks.epoch
	$(PY) -m benchmarks.rate
	$(PY) -m benchmarks.classifier
	$(PY) -m benchmarks.public

compare: $(VENV)/.requirements ## compare recipes on DVC's queue for equal images, equal time and at their own length, and print the tables
	$(PY) -m benchmarks.compare

worth: $(VENV)/.requirements ## what a synthetic set is worth over the budget of labels, on DVC's queue: about a day; resumable
	$(PY) -m benchmarks.worth

parts: $(VENV)/.requirements ## what each part of a set without labels buys: rendering, translating, guessing; hours; resumable
	$(PY) -m benchmarks.parts

sensitivity: $(VENV)/.requirements ## spoil real images step by step, plant training images: what each score makes of it
	$(PY) -m benchmarks.sensitivity
	$(PY) -m benchmarks.leak

peers: $(VENV)/.requirements-peers ## the same images through other tools: their scores, time and memory beside ours
	$(PY) -m benchmarks.peers
	$(PY) -m benchmarks.peers --images 60000 --tools ours

experiments: $(VENV)/.requirements ## one table of the experiments on this commit, best FID first
	$(DVC) exp show --only-changed --no-pager --md --sort-by fid --drop '(models|data|stages|src|results)/'\
'|(Created|State|Executor|.*_(std|score|loss|max|min|floor|real|seen|accuracy))$$'\
'|error_(scratch|semi_supervised|guessed|synthetic|both)|error_pretrained_(10|1000|50000)$$|gain_(instead|over)'\
'|metrics/labels.json:(?!total)|setback'\
'|.*gradient|class|.*validation_fid|fid_(left|infinity)|learning_rate|close_|cas_(reverse|gap)|metrics/gan.json:(precision|recall)'

recover: $(VENV)/.requirements ## after a kill: clean up where that is safe, list what needs a decision (docs/recovery.md)
	$(PY) -m stages.recover

# For Linux, macOS and Windows, Python 3.11 and newer: what differs between them carries a condition.
LOCK := "$(BIN)/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-config \
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
	$(PY) -m pip install --quiet --require-hashes --requirement $<
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.lock $(VENV)/.requirements
	$(PY) -m pip install --quiet --require-hashes --requirement $<
	@touch $@

$(VENV)/.requirements-peers: requirements-peers.txt $(VENV)/.requirements
	$(PY) -m pip install --quiet --requirement $<
	@touch $@
