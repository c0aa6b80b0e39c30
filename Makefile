# Everything runs in .venv, which uv makes from the hash-checked requirements.lock.
PYTHON ?= python3
VENV := .venv
# The machine's uv, or, where it has none beside that of .venv, which goes with it, one that pip fetches.
UV := $(or $(shell command -v uv | grep -vF "$$PWD/"),.uv/bin/uv)
# Named by the folder: an environment knows where it was made, and is made anew where the checkout was moved or copied.
INSTALLED := $(VENV)/.installed-$(shell pwd | cksum | cut -d' ' -f1)
PORT ?= 5000

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/src
# Containers often set it; without bytecode on disk each program compiles torch and MLflow anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help repro compare promote trainings test slow-test lint format bench gpu-check ui lock audit server container clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(INSTALLED)  ## bring every stage up to date: data, training, pictures, quality, MLflow run
	dvc repro

VARIANTS ?= gan=100 dcgan=10 nsgan sngan r3gan cr3gan
SEEDS ?= 0 1 2 3 4

compare: $(INSTALLED)  ## train VARIANTS (name or name=epochs) with SEEDS and report who is better
	python -m mnist_gan sweep --variants $(VARIANTS) --seeds $(SEEDS)

promote: $(INSTALLED)  ## register the best generator; make it champion if it beats the present one
	python -m mnist_gan promote

trainings: $(INSTALLED)  ## list the trainings that were stopped and wait in .unfinished/
	python -m mnist_gan trainings

test: lint  ## lint, type check and test
	pytest

slow-test: $(INSTALLED)  ## the tests that take minutes
	pytest -m slow

bench: $(INSTALLED)  ## time a step against the article's script, and trainings to given distances; takes an hour or two
	dvc repro --quiet ruler
	python benchmarks/step.py
	python benchmarks/quality.py

# No environment is made: a GPU image has torch already, and the container has all.
gpu-check:  ## what this machine's GPU does: tests, times and equal bits, as a page in Markdown
	$(or $(wildcard $(VENV)/bin/python),$(PYTHON)) benchmarks/gpu.py

lint: $(INSTALLED)  ## ruff, mypy, the order of imports, hadolint and a check of compose.yaml
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo --no-cache
	hadolint Dockerfile
	env POSTGRES_PASSWORD=- MLFLOW_TRACKING_PASSWORD=- MLFLOW_FLASK_SERVER_SECRET_KEY=- \
		docker-compose --file compose.yaml config --quiet

format: $(INSTALLED)  ## rewrite the code in the project's format
	ruff check --fix
	ruff format

ui: $(INSTALLED)  ## the MLflow UI on http://127.0.0.1:5000; another port: make ui PORT=5001
	python -m mnist_gan ui --port $(PORT)

lock: $(INSTALLED)  ## compile requirements.lock again from pyproject.toml
	uv pip compile pyproject.toml --group dev --all-extras --universal --generate-hashes --no-header --output-file requirements.lock

audit: $(INSTALLED)  ## known weaknesses of the locked packages
	uv tool run pip-audit==2.10.1 --require-hashes --disable-pip --requirement requirements.lock

COMPOSE = env UID=$$(id -u) GID=$$(id -g) PORT=$(PORT) docker compose

server: .env  ## a team's MLflow server in containers, on http://127.0.0.1:5000; the password is in .env
	mkdir -p mlflow-store
	$(COMPOSE) up --build --detach --wait mlflow

container: .env  ## the pipeline in a container on the GPU, tracked by the server, which stops with it
	mkdir -p mlflow-store
	$(COMPOSE) run --build --rm train; status=$$?; $(COMPOSE) down; exit $$status

.env:
	@umask 077; for name in POSTGRES_PASSWORD MLFLOW_TRACKING_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY; do \
		echo "$$name=$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(24))')"; done > $@.part; mv $@.part $@

clean:  ## remove the environment and tool caches; data, models and runs stay
	rm -rf $(VENV) .uv .mypy_cache .pytest_cache .ruff_cache

.uv/bin/uv: requirements.lock
	@$(PYTHON) -m venv --clear .uv
	@awk '/^[^ ]/ { listed = /^uv==/ } listed' requirements.lock > .uv/requirements.txt
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement .uv/requirements.txt
	@touch $@

# uv takes 30 s where pip takes 200, but knows nothing of pip's settings: where these name the only index, pip does it.
$(INSTALLED): requirements.lock $(filter .uv/%,$(UV))
	@$(PYTHON) -c 'import os, sys; sys.exit(f"make: MLflow cannot run in a folder with % in its path: rename {os.getcwd()}" if "%" in os.getcwd() else 0)'
	@$(PYTHON) -c 'import sys; sys.exit(f"make: Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}; name another with PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@"$(UV)" venv --quiet --clear --no-managed-python --python $(PYTHON) $(VENV)
	@echo "the environment is installed into $(VENV), 7 GB" >&2
	@"$(UV)" pip install $$(test -t 2 || echo --quiet) --python $(VENV) --require-hashes --requirement requirements.lock || \
		{ test -x .uv/bin/python && .uv/bin/python -m pip --python $(VENV)/bin/python install --quiet \
		--disable-pip-version-check --require-hashes --requirement requirements.lock; }
	@$(VENV)/bin/python -c 'import os, pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "mnist_gan.pth").write_text(os.environ["PYTHONPATH"])'
	@touch $@
