# Everything here needs only make and a Python of 3.11 or newer: the first target that is asked for
# makes .venv and installs the package into it; a stamp keeps the later ones quick.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS_INSTALLED := $(VENV)/.peers-installed

# PEERS=1 also installs torch and jax, which some tests and the benchmarks compare with.
ifeq ($(PEERS),1)
ENVIRONMENT := $(INSTALLED) $(PEERS_INSTALLED)
else
ENVIRONMENT := $(INSTALLED)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-sklearn bench lint format clean

help:
	@echo 'make demo          train on a CSV file from the command line and predict with the saved model'
	@echo 'make test          linters, types, import order, tests and doctests (PEERS=1: against torch and jax too)'
	@echo 'make test-sklearn  only the drop-in check: the expectations of sklearn.neural_network'
	@echo 'make bench         measure the speed on this machine (PEERS=1: beside torch and jax)'
	@echo 'make lint          ruff, mypy and import-linter;  make format  lets ruff rewrite the files'
	@echo 'make clean         back to a fresh clone, .venv included'

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { \
		echo "chainrule needs Python 3.11 or newer, and no such python3 is on the PATH" \
			"(python3 is $$(python3 --version 2>&1)). Name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "chainrule needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1)" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || { \
		echo "$(PYTHON) cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2; \
		rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(PEERS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,peers]'
	@touch $@

demo: $(INSTALLED)
	@mkdir -p build
	$(BIN)/chainrule train examples/penguins.csv --target species --out build/penguins.safetensors
	$(BIN)/chainrule predict build/penguins.safetensors examples/penguins.csv --out build/predictions.csv --proba
	@head -n 6 build/predictions.csv
	@echo
	@echo 'Shown: a network trained on a CSV file with missing values and text columns, its accuracy on rows'
	@echo 'it did not see, the model saved as one file, and that file used to predict (build/predictions.csv).'

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The whole suite; tests/estimators/test_sklearn_suite.py (make test-sklearn) is part of it.
test: $(ENVIRONMENT) lint
	@for peer in torch jax; do $(BIN)/python -c "import importlib.util as u; raise SystemExit(u.find_spec('$$peer') is None)" \
		|| echo "$$peer is not installed: the tests against it are skipped (PEERS=1 make test installs it)"; done
	$(BIN)/python -m pytest -n 2

test-sklearn: $(INSTALLED)
	$(BIN)/python -m pytest tests/estimators/test_sklearn_suite.py

bench: $(ENVIRONMENT)
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
