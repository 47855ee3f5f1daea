# Everything that a person does here is one of these. Each makes what it needs first.

SHELL := /bin/bash
PYTHON ?= python3
PINS := .venv/bin
NEWEST := .venv-newest/bin

.DEFAULT_GOAL := help
.PHONY: help setup test lint types unit e2e demo bench clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## Make both environments, and install a browser for the tests where allowed
	@$(PYTHON) dev/setup.py chromium pins newest

test: lint types unit e2e ## All of the below: what CI runs

lint: setup ## Style and format, by ruff
	$(PINS)/ruff check .
	$(PINS)/ruff format --check .

types: setup ## Types, by mypy --strict
	$(PINS)/mypy

unit: setup ## Fast tests of the parts, on Open WebUI's OpenTelemetry pins and on the newest
	$(PINS)/python -m pytest -q tests/unit
	$(NEWEST)/python -m pytest -q tests/unit

e2e: setup ## The real Open WebUI against a provider that counts, on both
	$(PINS)/python -m pytest tests/e2e
	$(NEWEST)/python -m pytest tests/e2e --ignore tests/e2e/test_install.py

demo: ## Watch a real Open WebUI report a small day of traffic (ONCE=1: print, check and end)
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. $(PINS)/python -m demo $(if $(ONCE),--once) $(if $(PROVIDER_URL),--provider-url $(PROVIDER_URL)) $(foreach model,$(MODEL),--model $(model))

bench: ## What the library costs, as ratios in one run
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. $(PINS)/python -m bench

clean: ## Remove all that was made
	rm -rf .venv .venv-newest .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
