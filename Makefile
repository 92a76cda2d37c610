# Every target sets up what it needs first; `make setup` alone is not required.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build demo test faults load lint format bench lock clean

ARGS ?=
IN_ENV := source tools/env.sh &&

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## system libraries, .venv, workspace, meshes; does only what changed
	@tools/setup.sh

build: ## build the ROS workspace again
	@tools/setup.sh build

demo: setup ## record 3 episodes with MuJoCo and the trained ensemble; ARGS= adds options of `salus collect`
	@$(IN_ENV) salus collect --episodes 3 --sim mujoco --policy ensemble --intervention act $(ARGS)

test: lint ## lint and all tests; ARGS= adds options of pytest
	@tools/setup.sh browser
	@$(IN_ENV) tools/run_tests.sh $(ARGS)

faults: setup ## kill processes 120 times and fill disks, about 40 minutes; ARGS="--storm 20": 20 minutes of anything
	@$(IN_ENV) python -m salus_vla.bench.faults --report docs/reliability.md $(ARGS)

load: setup ## 640x480 at 30 Hz, four graphs, 500 episodes, about 7 minutes; ARGS= adds options
	@$(IN_ENV) python -m salus_vla.bench.load --report docs/reliability.md $(ARGS)

lint: setup ## ruff, mypy, import-linter, codespell
	@$(IN_ENV) ruff check
	@$(IN_ENV) ruff format --check
	@$(IN_ENV) mypy
	@$(IN_ENV) env PYTHONPATH=ros2_ws/src/salus_vla .venv/bin/lint-imports --no-cache
	@$(IN_ENV) codespell

format: setup ## let ruff format and fix what it can
	@$(IN_ENV) ruff format && ruff check --fix

bench: setup ## latency and throughput; ARGS= adds options
	@$(IN_ENV) python -m salus_vla.bench $(ARGS)

lock: ## resolve requirements*.txt again, into requirements*.lock
	@tools/setup.sh lock

clean: ## remove what setup and the tools made, except recorded runs
	rm -rf .venv .tools ros2_ws/build ros2_ws/install ros2_ws/log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ros2_ws tests tools -name __pycache__ -prune -exec rm -rf {} +
