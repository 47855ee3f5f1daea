# Everything that a person does here is one of these. Each makes what it needs first.

SHELL := /bin/bash
# Else each of the many processes would compile all tests anew.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
PINS := .venv/bin
NEWEST := .venv-newest/bin
# What depends on OpenTelemetry's version; which paths there are does not.
OF_OPENTELEMETRY := $(addprefix tests/e2e/test_,calls.py doctor.py fork.py identity.py start.py turns.py)
UNITS_OF_OPENTELEMETRY := $(addprefix tests/unit/,calls host telemetry money/test_money_cases.py) $(wildcard tests/unit/test_*.py)
# Has seconds to keep to, and so the machine for itself.
STOPS := tests/e2e/test_stop.py
# What reads and bounds whatever comes from outside.
PROPERTIES := $(addprefix tests/unit/calls/test_,arrivals.py asking.py) tests/unit/test_bounds.py $(addprefix tests/unit/answers/test_,billed.py errors.py estimates.py forms.py reports.py stream.py)
TWINE := twine==7.0.0
# The newest patch of each minor version of Open WebUI that we know.
VERSIONS ?= 0.12.4 0.11.4 0.10.2 0.9.6 0.8.12 0.7.2 0.6.43

.DEFAULT_GOAL := help
.PHONY: help setup test test-matrix lint types unit parts e2e newest stops pipeline pipeline-then-newest fuzz hostile kills scale crowds soak demo dist dashboards pictures tools stack bench bench-others bench-ledger bench-dashboards clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## Make both environments, and install a browser for the tests where allowed
	@$(PYTHON) dev/setup.py chromium pins newest

test: lint types unit parts ## All of the below: what CI runs. What is real waits a lot, so it goes at once
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line e2e pipeline-then-newest
	@$(MAKE) --no-print-directory stops

pipeline-then-newest: pipeline
	@$(MAKE) --no-print-directory newest

lint: setup ## Style and format, by ruff; and whether dashboards and rules are as they are made
	$(PINS)/ruff check .
	$(PINS)/lint-imports
	$(PINS)/ruff format --check .
	@PYTHONPATH=. $(PINS)/python -m dashboards --check

types: setup ## Types, by mypy --strict
	$(PINS)/mypy

unit: setup ## Fast tests of the parts, on Open WebUI's OpenTelemetry pins; what depends on it, on the newest
	$(PINS)/python -m pytest -q --numprocesses 3 -m "not (database or large)" tests/unit tests/dashboards
	$(NEWEST)/python -m pytest -q --numprocesses 3 -m "not (database or large)" $(UNITS_OF_OPENTELEMETRY)

parts: setup ## Tests of parts that keep a ledger, in SQLite and PostgreSQL, or are as large as promised
	$(PINS)/python -m pytest -q --numprocesses 3 -m "database or large" tests/unit
	$(NEWEST)/python -m pytest -q --numprocesses 3 -m "large and not database" $(UNITS_OF_OPENTELEMETRY)

e2e: setup ## The real Open WebUI against a provider that counts, on its OpenTelemetry pins
	$(PINS)/python -m pytest --numprocesses 2 --dist loadfile tests/e2e --ignore $(STOPS)

newest: setup ## What of this depends on OpenTelemetry, on the newest
	$(NEWEST)/python -m pytest --numprocesses 2 --dist loadfile $(OF_OPENTELEMETRY)

stops: setup ## How soon the real Open WebUI stops, and what it still exports, on both
	$(PINS)/python -m pytest --numprocesses 2 $(STOPS)
	$(NEWEST)/python -m pytest --numprocesses 2 $(STOPS)

pipeline: setup ## From a call to Prometheus, Jaeger and the ledger, with the real programs
	-@$(PYTHON) dev/tools.py
	$(PINS)/python -m pytest tests/stack

test-matrix: ## The table of all paths, asked and refused, and the screens, on each version of Open WebUI (VERSIONS="…")
	@set -e; for version in $(VERSIONS); do \
		$(PYTHON) dev/setup.py $$version; \
		echo "Open WebUI $$version"; \
		.venv-$$version/bin/python -m pytest -q $(addprefix tests/e2e/test_,sources.py calls.py paths.py limits.py limits_turns.py screens.py usage.py); \
	done

fuzz: setup ## The properties of the parsers, for minutes instead of moments
	$(PINS)/python -m pytest -q $(PROPERTIES) --hypothesis-profile fuzz

hostile: setup ## What users and providers may write to hurt others, a thousand times over (TIMES=)
	ABUSES=$(or $(TIMES),25) $(PINS)/python -m pytest -q tests/e2e/test_hostile.py

kills: setup ## Kill what books 200 calls a second with kill -9, 50 times (TIMES=): how many are lost
	KILLS=$(or $(TIMES),50) $(PINS)/python -m pytest -q -s tests/unit/ledger/test_ledger.py -k kill

scale: setup tools ## 10,000 users (USERS=) through a collector with its default limits, all exact: 10 minutes
	SCALE_USERS=$(or $(USERS),10000) $(PINS)/python -m pytest -s -q tests/stack/test_scale.py

crowds: setup ## 50 callers in each of 2 and 4 processes use a limit up, on both databases, and stay within it
	CROWDS=1 $(PINS)/python -m pytest -s -q tests/unit/limits/test_crowds.py

soak: setup ## 50,000 calls (CALLS=) with the OTLP exporters on: memory has to stay flat
	@PYTHONPATH=tests:. $(PINS)/python -m bench.soak $(if $(CALLS),--calls $(CALLS))

demo: ## Watch a real Open WebUI report a small day of traffic (ONCE=1: print, check and end)
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. $(PINS)/python -m demo $(if $(ONCE),--once) $(if $(PROVIDER_URL),--provider-url $(PROVIDER_URL)) $(foreach model,$(MODEL),--model $(model))

# Checked are all files of both, and how an index shows README: its links lead to the repository.
dist: ## Build the wheel and the sdist into dist/, and check them: what a release uploads
	@$(PYTHON) dev/setup.py pins
	@rm -rf dist
	$(PINS)/uv build --quiet --out-dir dist
	$(PINS)/uvx --quiet $(TWINE) check --strict dist/*.whl dist/*.tar.gz
	DIST=dist $(PINS)/python -m pytest -q tests/e2e/test_dist.py
	@ls dist/*

dashboards: setup ## Make dashboards and rules anew from dashboards/*.py
	@PYTHONPATH=. $(PINS)/python -m dashboards

pictures: ## Draw the dashboards with Grafana's own components, from the data of `make stack` (with Node 20)
	@node pictures/all.mjs

tools: ## Build the collector, Prometheus and Jaeger from source, as far as they are missing
	@$(PYTHON) dev/tools.py

stack: tools ## The whole pipeline from local programs with traffic (TRAFFIC=0: silent), and a page of dashboards (Node 20), until Ctrl-C
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. exec $(PINS)/python -m demo.stack

bench: ## What the library costs, as ratios in one run
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. $(PINS)/python -m bench

bench-others: ## What other instrumentations cost on the same answers, as ratios to ours
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. $(PINS)/python -m bench.others

bench-ledger: ## What the ledger costs: 10 million calls (CALLS=, URL=postgresql://…)
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. $(PINS)/python -m bench.ledger $(if $(CALLS),--calls $(CALLS)) $(if $(URL),--url $(URL))

bench-dashboards: tools ## How quick the dashboards' panels are with 10,000 users (an hour; USERS=, DAYS=)
	@$(PYTHON) dev/setup.py pins
	@PYTHONPATH=tests:. $(PINS)/python -m bench.year $(if $(USERS),--users $(USERS)) $(if $(DAYS),--days $(DAYS))

clean: ## Remove all that was made
	rm -rf .venv .venv-* .tools .stack .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build \
		pictures/node_modules pictures/dist pictures/out tests/harness/sdks/node_modules
