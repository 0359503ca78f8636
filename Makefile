# make report: makes the HTML.   make test: runs every check.   Each sets up .venv first if that is not done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python -m
READY := $(VENV)/.ready

export MUJOCO_GL ?= egl
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# What pip says of every file that it looks at, in which its progress and its errors would drown.
PIP_NOISE := '^(  |Looking in|Requirement already|WARNING: Location|DEPRECATION|\[notice\]|$$)'

.PHONY: help setup report book test vla-eval serve-load lab clean

help:
	@echo "make report   execute the chapters and make _build/html/index.html; changes nothing that git tracks"
	@echo "make book     execute the chapters and make book/*.ipynb and figures/ anew"
	@echo "make test     run every check"
	@echo "make vla-eval run vla-evaluation-harness, unchanged, against kvlab serve (fetches it from PyPI; some minutes)"
	@echo "make serve-load  ask kvlab serve ten thousand times, well and badly, and time what it adds"
	@echo "make setup    only set up .venv and the OpenGL driver (the others do it by themselves)"
	@echo "make book/NAME.ipynb   execute one chapter after a change of book/NAME.md"
	@echo "make lab      open the chapters in JupyterLab"
	@echo "make clean    remove what was built (not .venv, not data)"

setup: $(READY)

# In an environment of its own: see there.
CLIENT := tests/serve/requirements.txt

$(READY): pyproject.toml constraints.txt $(CLIENT)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	  "kvlab needs Python 3.11 or newer, found " + sys.version.split()[0] + "; name one with: make PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV) with $(PYTHON): some minutes, 4 GB, once."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) pip install --progress-bar off -e '.[test]' -c constraints.txt 2>&1 | grep --line-buffered -vE $(PIP_NOISE)
	@$(PYTHON) -m venv $(VENV)/openpi-client && $(VENV)/openpi-client/bin/pip install -q -r $(CLIENT) || \
	  echo "openpi's client could not be set up ($(CLIENT)); the tests that need it will say so"
	@$(VENV)/bin/kvlab doctor --install
	@touch $@

report: $(READY)
	@$(RUN) kvlab.book.execution --jobs $(JOBS)
	@$(VENV)/bin/jupyter-book build _build/report --path-output . --all -W -n --keep-going -q
	@echo "Made _build/html/index.html"

book: $(READY)
	@$(RUN) kvlab.book.execution --publish --jobs $(JOBS)

test: $(READY)
	@$(RUN) ruff check kvlab tests examples
	@$(RUN) pytest -n $(JOBS) --dist loadscope --nbval --nbval-current-env tests book

# It needs LIBERO too, so its environment sees the packages of the other one.
HARNESS := $(VENV)/vla-eval/bin
$(HARNESS)/vla-eval: | $(READY)
	@$(PYTHON) -m venv $(VENV)/vla-eval
	@$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  >"$$($(HARNESS)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/kvlab.pth"
	@$(HARNESS)/pip install -q vla-eval==0.8.0

vla-eval: $(HARNESS)/vla-eval
	@$(RUN) pytest -n 0 -s tests/serve/harness.py

serve-load: $(READY)
	@$(RUN) pytest -n 0 -s tests/serve/full_load.py

book/%.ipynb: book/%.md | $(READY)
	@$(RUN) kvlab.book.execution --publish $*

lab: $(READY)
	@$(VENV)/bin/jupyter lab book --config=book/_lab/config.json

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
