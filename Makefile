# Everything runs in .venv, which is made from the hash-checked requirements.lock.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/src

.DEFAULT_GOAL := help
.PHONY: help repro compare promote test slow-test lint format bench ui lock container clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(INSTALLED)  ## bring every stage up to date: data, training, pictures, quality, MLflow run
	dvc repro

VARIANTS ?= r3gan gan=100 dcgan=10
SEEDS ?= 0 1 2

compare: $(INSTALLED)  ## train VARIANTS (name or name=epochs) with SEEDS and report who is better
	python -m mnist_gan.sweep --variants $(VARIANTS) --seeds $(SEEDS)

promote: $(INSTALLED)  ## register the best generator; make it champion if it beats the present one
	python -m mnist_gan.promote

test: lint  ## lint, type check and test
	pytest

slow-test: $(INSTALLED)  ## the tests that take minutes
	pytest -m slow

bench: $(INSTALLED)  ## time a training step against the article's script; takes some ten minutes
	dvc repro --quiet prepare
	python benchmarks/step.py

lint: $(INSTALLED)  ## ruff, mypy, the order of imports, hadolint and a check of compose.yaml
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo --no-cache
	hadolint Dockerfile
	docker-compose --file compose.yaml config --quiet

format: $(INSTALLED)  ## rewrite the code in the project's format
	ruff check --fix
	ruff format

ui: $(INSTALLED)  ## the MLflow UI on http://127.0.0.1:5000
	mlflow server --host 127.0.0.1 --port 5000 --workers 1 --backend-store-uri sqlite:///$(CURDIR)/mlflow.db

lock: $(INSTALLED)  ## compile requirements.lock again from pyproject.toml
	uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-header --output-file requirements.lock

container:  ## the pipeline in a container on the GPU, tracked by a server on http://127.0.0.1:5000
	mkdir -p mlflow-store
	env UID=$$(id -u) GID=$$(id -g) docker compose run --build --rm train

clean:  ## remove the environment and tool caches; data, models and runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(f"make: Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}; name another with PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@touch $@
