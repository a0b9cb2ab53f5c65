# Two commands: `make study` and `make test`. Nothing but Python 3.11+, make and git is needed before.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
ACTIVATE := . $(VENV)/bin/activate
PYTEST_ARGS ?=

.PHONY: study test check docs ui verify release install clean

## study: install, generate the synthetic shop, and materialise everything up to the report
study: install
	$(ACTIVATE) && dvc repro study
	@$(ACTIVATE) && paretoscope report

## test: all checks (format, lint, types, dependency rule) and all tests; PYTEST_ARGS=--runslow for the slow ones
test: check
	$(ACTIVATE) && python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

check: install
	$(ACTIVATE) && ruff format --check . && ruff check . && pyright && lint-imports

## docs: the site, at docs/_build/html/index.html; a warning or a broken link is an error
docs: install
	$(ACTIVATE) && python docs/generated.py && sphinx-build --fail-on-warning --keep-going -q docs docs/_build/html

## ui: Dagster on the same graph, at http://127.0.0.1:3000
ui: install
	$(ACTIVATE) && dagster dev --host 127.0.0.1

## verify: compare the finished study with the pinned md5s and the released tables
verify: install
	$(ACTIVATE) && paretoscope verify

## release: make the finished study's tables the released ones
release: install
	$(ACTIVATE) && paretoscope release

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt scripts/activation.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	cat scripts/activation.sh >> $(VENV)/bin/activate
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis docs/_build docs/reference docs/measured
