# Two commands: `make study` and `make test`. They require Python 3.11 or newer, make and git.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
ACTIVATE := . $(VENV)/bin/activate
PYTEST_ARGS ?=

.PHONY: study test check docs ui wheel verify update-reference install clean

## study: install, generate the synthetic shop's log, and materialise everything up to the report
study: install
	$(ACTIVATE) && dvc repro study
	@$(ACTIVATE) && paretoscope report

## test: all checks and tests; PYTEST_ARGS=--runslow includes the slow tests
test: check
	$(ACTIVATE) && python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

## check: format, lint, types and the import contracts
check: install
	$(ACTIVATE) && ruff format --check . && ruff check . && pyright && lint-imports

## docs: build docs/_build/html/index.html; warnings and broken links are errors
docs: install
	$(ACTIVATE) && python docs/generated.py && sphinx-build --fail-on-warning --keep-going -q docs docs/_build/html

## ui: Dagster at http://127.0.0.1:3000
ui: install
	$(ACTIVATE) && dagster dev --host 127.0.0.1

## wheel: dist/paretoscope-….whl, for `pip install --constraint constraints.txt` anywhere
wheel: install
	rm -rf build dist
	$(ACTIVATE) && python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf build

## verify: compare the finished study with pinned md5s and reference results
verify: install
	$(ACTIVATE) && paretoscope verify

## update-reference: replace the reference results with those of the finished study
update-reference: install
	$(ACTIVATE) && paretoscope update-reference

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt scripts/activation.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is required; set it with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	cat scripts/activation.sh >> $(VENV)/bin/activate
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis docs/_build docs/reference docs/measured
