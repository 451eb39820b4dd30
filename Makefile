# `make demo` and `make test` install what they need into .venv first. EXTRAS=gpu,demo,dev takes other extras.
PYTHON ?= python3
EXTRAS ?= cpu,demo,dev
comma := ,
BIN := .venv/bin
INSTALLED := .venv/installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: install demo test test-all check docs clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e '.[$(EXTRAS)]'
	touch $@

demo: install
	$(BIN)/facededup demo

# Without the tests marked slow: networks of hundreds of megabytes, filled with random weights.
test: install
	$(BIN)/python -m pytest -m "not slow"

test-all: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The site, in build/site; fails on a warning. Where an option changed, first `python docs/make_cli.py`.
docs: install
	$(BIN)/uv pip install -q --python $(BIN)/python -e '.[$(EXTRAS),docs]'
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
