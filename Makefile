# Each target does its own set-up into .venv. Choose another interpreter with: make test PYTHON=python3.12
SHELL := /bin/bash
BIN := .venv/bin
WORKERS ?= 2

# A sourced ROS installation has its own Python packages and libraries, which do not mix with those in .venv.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
export PATH := $(CURDIR)/$(BIN):$(PATH)
export AMENT_PREFIX_PATH := $(CURDIR)/.venv
export RMW_IMPLEMENTATION := rmw_fastrtps_cpp
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make or finish .venv, nothing else
	@PYTHON="$(PYTHON)" tools/setup

demo: setup  ## record, learn, export and run a D'Claw in simulation, then show a page about it
	$(BIN)/vmail demo

lint: setup  ## ruff, mypy and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks
	$(BIN)/lint-imports --no-logo

test: lint  ## everything that lint checks, and every test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

bench: setup  ## the measurements behind every performance claim (but studies and soak, which take hours)
	@missed=; for file in $$(grep -l __main__ benchmarks/*.py | grep -v -e _study -e soak -e every_task); do \
		echo "== $$file"; $(BIN)/python $$file || missed="$$missed $$file"; done; \
	test -z "$$missed" || { echo "a target was missed, or it failed:$$missed"; exit 1; }

clean:  ## remove .venv and everything that was built
	rm -rf .venv build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
