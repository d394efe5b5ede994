# One vocabulary for hands, hooks and CI. `make demo` and `make test` need nothing but
# Python 3.11, make and the package registries.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test test-all test-floor unit check fix e2e real bench bench-data bench-accuracy bench-latency bench-drop bench-reaction bench-demo bench-pretrained bench-trainer chaos mutation foreign-exports screenshots constraints clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 22

# The stamp is written last: an interrupted set-up is done again, not taken for a finished one.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] in ((3, 11), (3, 12)) else "guardianflow needs Python 3.11 or 3.12, this is %s; run: make PYTHON=/path/to/python3.11 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	.ci/pip-progress $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(READY) ## make the virtual environment .venv: 2 to 9 minutes, 3 GB

demo: $(READY) ## the whole life of a model on embedded servers, 3 to 5 minutes
	$(BIN)/python -m deployments.demo

up: $(READY) ## start servers and workers for daily use, apply the deployments
	$(BIN)/python -m deployments.local up

down: $(READY) ## stop what `make up` started
	$(BIN)/python -m deployments.local down

# File by file, so that a module's fixtures are made once; in their order, forking tests first.
test: $(READY) ## the tests on real servers, two files at a time, but for the long ones
	$(BIN)/python -m pytest -m "not browser and not chaos and not long" $(SIDE_BY_SIDE)

test-all: $(READY) ## the same with the long ones: what CI runs
	$(BIN)/python -m pytest -m "not browser and not chaos" $(SIDE_BY_SIDE)

test-floor: $(READY) ## the lowest versions that pyproject.toml allows, in an environment of their own; gigabytes
	$(PYTHON) -m venv .venv-floor
	$(BIN)/python -m tests.floor > .venv-floor/constraints.txt
	.venv-floor/bin/python -m pip install --disable-pip-version-check -q -c .venv-floor/constraints.txt -e '.[dev]'
	.venv-floor/bin/python -m pytest tests/unit tests/integration/test_registry.py \
		tests/integration/test_training.py tests/integration/test_quantization.py \
		tests/integration/test_flows.py $(SIDE_BY_SIDE)

unit: $(READY) ## the tests that need no server, in seconds
	$(BIN)/python -m pytest tests/unit -q

check: $(READY) ## lint, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/pyright --project benchmarks
	$(BIN)/lint-imports

fix: $(READY) ## format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

e2e: $(READY) ## the tests in a real browser too (needs Debian's chromium)
	$(BIN)/python -m pytest tests/e2e

real: $(READY) ## train, quantize, promote, roll back on real photographs (GUARDIANFLOW_REAL_DATA)
	$(BIN)/python -m benchmarks.real_photographs

bench: $(READY) ## what rotations, listings and a long ledger cost, under 10 minutes; writes docs/results
	$(BIN)/python -m benchmarks.rotation
	$(BIN)/python -m benchmarks.listing
	$(BIN)/python -m benchmarks.ledger_growth
	$(BIN)/python -m benchmarks.page

bench-data: $(READY) ## the checker of data sets against bare decoding, a few minutes
	$(BIN)/python -m benchmarks.checker
	$(BIN)/python -m benchmarks.page

bench-accuracy: $(READY) ## ours, from random and trained weights, against YOLO11n at equal budget, five hours (GUARDIANFLOW_REAL_DATA, weights)
	$(BIN)/python -m benchmarks.equal_budget --budget 240 --seeds 0 1 2
	$(BIN)/python -m benchmarks.equal_budget --long 3600 --seeds 0 1 2
	$(BIN)/python -m benchmarks.page

bench-latency: $(READY) ## torch, ONNX Runtime and OpenVINO on the same weights, half an hour
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.latency --nanodet
	$(BIN)/python -m benchmarks.page

bench-drop: $(READY) ## what INT8 costs on 5000 drawn images and on photographs (GUARDIANFLOW_REAL_DATA)
	$(BIN)/python -m benchmarks.accuracy_drop
	$(BIN)/python -m benchmarks.page

bench-reaction: $(READY) ## event to rollback, false rollbacks, the right action, flows, idling; an hour and a half
	$(BIN)/python -m benchmarks.reaction
	$(BIN)/python -m benchmarks.flow_overhead
	$(BIN)/python -m benchmarks.false_rollbacks
	$(BIN)/python -m benchmarks.right_action
	$(BIN)/python -m benchmarks.idle
	$(BIN)/python -m benchmarks.page

bench-pretrained: $(READY) ## what weights trained on COCO are worth, an hour (GUARDIANFLOW_REAL_DATA, weights)
	$(BIN)/python -m benchmarks.pretrained_start
	$(BIN)/python -m benchmarks.page

bench-trainer: $(READY) ## a trainer of another project, killed once, to its variant, a quarter of an hour
	$(BIN)/python -m benchmarks.foreign_trainer

bench-demo: $(READY) ## whether the demo's story holds from ten seeds, with and without VNNI, a quarter of an hour
	$(BIN)/python -m benchmarks.demo_margin
	$(BIN)/python -m benchmarks.page

chaos: $(READY) ## kill everything for one to two hours, on SQLite and Postgres, and judge the history
	$(BIN)/python -m pytest -m chaos
	$(BIN)/python -m pytest tests/unit/test_rotation_schedules.py --hypothesis-profile=chaos
	$(BIN)/python -m tests.chaos.run --database sqlite --result docs/results/chaos-sqlite.json
	$(BIN)/python -m tests.chaos.run --database postgres --result docs/results/chaos-postgres.json
	$(BIN)/python -m tests.chaos.run --database sqlite --hands --operations 100 --kills 30 \
		--result docs/results/chaos-hands.json

mutation: $(READY) ## mutate the rules of the rotation; each mutant has to be caught by a test
	$(BIN)/python -m tests.mutation

foreign-exports: $(READY) ## make the exports of other trainers again, in environments of their own; gigabytes
	$(BIN)/python -m tests.foreign_exports.make

screenshots: $(READY) ## make the pictures of the README again (needs Debian's chromium)
	$(BIN)/python -m docs.screenshots

constraints: $(READY) ## write constraints.txt again from what is installed
	(echo "# The versions that CI runs; pip reads this file as constraints (make constraints)."; \
	 $(BIN)/python -m pip freeze --exclude-editable | sed -E 's/\+cpu$$//' | grep -E '^[A-Za-z0-9_.-]+==') > constraints.txt

clean: ## remove the virtual environment and all local state
	rm -rf $(VENV) .venv-floor .venv-foreign .guardianflow
