# Every target sets up what it needs by itself: `make demo` and `make test` work in a fresh clone.
# JOBS=1 runs the tests one after the other. KEEP=1 (demo) leaves site and worker up; ARGS="..." goes to pytest or the bench; PYTHON=... chooses the interpreter.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test check lint bench soak cluster spawn fmt promises env-demo env-test env-bench servers clean

PY := .venv/bin/python
PYTEST := $(PY) -m pytest -p no:cacheprovider
SUITE := $(PY) -m pytest --timeout 180 -m "not soak"
#: Test processes side by side: so many keep two processors busy, for most tests wait for other processes.
JOBS ?= 5
KEEP ?=
ARGS ?=
#: Where tests take a Redis. Of integration and ecosystem only what needs no Celery: that reads no URL of a cluster.
CLUSTER := $(addprefix unit/,redis app cli observe) contract acceptance chaos web django frameworks \
  $(addprefix integration/test_,metrics_stores.py mixed_stores.py readers.py)
# Runs the tests of a command line.
side_by_side = { $(1) -n $(JOBS) --dist worksteal $(ARGS) || { \
  tools/say "what failed side by side runs once more, alone: what fails again has failed, what passes now is unsteady"; \
  $(1) --last-failed --last-failed-no-failures none $(ARGS); }; }
# Images set it to stay small. Here it would have every process of every test compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: env-demo  ## watch a small Django site hand off real work, without any server (KEEP=1 leaves it up)
	@KEEP=$(KEEP) $(PY) examples/website/demo.py $(ARGS)

test: env-test servers  ## everything: format, lint, types, and all tests against real servers
	@status=0; \
	$(MAKE) --no-print-directory lint & lint=$$!; \
	$(call side_by_side,$(SUITE)) || status=1; \
	wait $$lint || status=1; \
	if [ $$status != 0 ]; then echo "make test: not all is well, see above" >&2; fi; \
	exit $$status

check: env-test lint  ## the quick round before a commit: format, lint, types, floors, unit, contract on SQLite
	@$(PYTEST) --timeout 60 -m "not soak" --no-servers -q -n $(JOBS) --dist worksteal \
	  $(wildcard tests/architecture tests/unit tests/property tests/contract) $(ARGS)

lint: env-test
	@tools/say "ruff, mypy"; status=0; \
	$(PY) -m ruff format --check --quiet . || { echo "not formatted: make fmt" >&2; status=1; }; \
	$(PY) -m ruff check --quiet . || status=1; \
	$(PY) -m mypy --no-error-summary || status=1; \
	exit $$status

bench: env-bench servers  ## Talo and its peers side by side on one Redis; writes bench/results.json and the README's table
	@.venv-bench/bin/python -m bench $(ARGS)

soak: env-test servers  ## the long runs: chaos at the promised size
	@TALO_SOAK=1 $(PYTEST) --timeout 7200 -m soak $(ARGS)

cluster: env-test servers  ## the Redis suite on a cluster of six nodes whose slots move and whose masters step down meanwhile
	@$(call side_by_side,$(SUITE) --timeout 300 --redis=cluster -q $(addprefix tests/,$(CLUSTER)))

spawn: env-test servers  ## all tests once more, on workers whose processes are spawned, not forked
	@$(SUITE) --start-method=spawn -n $(JOBS) --dist worksteal $(ARGS)

fmt: env-test  ## format, and mend what the linter can
	@$(PY) -m ruff format --quiet . && $(PY) -m ruff check --quiet --fix .

promises: env-test  ## render docs/reference/promises.md from the tests
	@$(PY) tools/promises.py

env-demo:
	@tools/env .venv --extra django --extra web --group demo

env-test:
	@tools/env .venv --extra all --group test --group demo

env-bench:
	@tools/env .venv-bench --extra all --requirements bench/requirements.txt

servers:
	@tools/servers

clean:  ## remove environments and caches
	@rm -rf .venv .venv-bench .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
