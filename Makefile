# Each target installs what it needs; only Python 3.10 to 3.12 must be installed before.
PYTHON ?= python3
BIN := .venv/bin
CODE := submission toolkit tools tests examples docs

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow coverage figures lint format requirements docs docs-generated picture

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

demo: .venv/installed  ## run all stages on synthetic cells, into demo/
	rm -rf demo
	$(BIN)/cbtool demo --out demo

test: .venv/installed  ## run the tests
	$(BIN)/python -m pytest

test-slow: .venv/installed  ## run the slow tests too
	$(BIN)/python -m pytest -m ''

coverage: .venv/installed  ## run the tests, and list the lines that no test runs
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

figures: .venv/installed  ## count the code's sub-packages, density and names
	$(BIN)/python -m tests.support.code_figures

lint: .venv/installed  ## check style and types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

format: .venv/installed  ## correct the style where ruff can
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

requirements: .venv/installed  ## update requirements.txt from the version ranges in setup.cfg
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile setup.cfg --extra docs --constraint requirements.txt --universal --python-version 3.10 --no-header --no-annotate --output-file docs/requirements.txt
	$(BIN)/uv pip compile setup.cfg --extra test --universal --python-version 3.10 --no-header --no-annotate --no-strip-extras --generate-hashes --upgrade --output-file requirements.txt

docs-generated: .venv/installed  ## write docs/configuration.md and docs/reference.md from the code
	$(BIN)/python -m toolkit.core.config_docs
	$(BIN)/python -m tools.reference

docs: .venv/installed  ## build the documentation as a site, into site/
	$(BIN)/pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	$(BIN)/mkdocs build --strict

picture: .venv/installed  ## record the README's picture of a terminal
	$(BIN)/python -m tests.support.record_terminal docs/terminal.svg

# The stamp file is written last, so an interrupted installation starts again.
.venv/installed: requirements.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo 'cbtool runs on Python 3.10 to 3.12; name one: make PYTHON=python3.11 ...' >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
