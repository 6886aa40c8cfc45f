# Kairos. Needs Python >= 3.11 and make; every target sets up .venv by itself.
# Research software. Not a medical device.

PY := .venv/bin/python
LOG ?= examples/log
OUT ?= out/run
CONFIG := $(wildcard examples/kairos.toml)

.PHONY: help run test lint bench bench-forgetting soak clean venv

help:
	@echo "make run    replay the bundled log ($(LOG)) into $(OUT) and say who was told what, when and why"
	@echo "make test   all tests    make lint   style, types, content, schemas; edits nothing"
	@echo "make bench  speed, memory, state; writes benchmarks/RESULTS.md    make soak   the slow tests"
	@echo "make bench-forgetting   do the models keep what they knew? FULL=1: all 13 streams"
	@echo "make clean  remove .venv, caches and out/"

venv:
	@.ci/venv

run: venv
	@rm -rf $(OUT)
	@.venv/bin/kairos replay $(LOG) --out $(OUT) $(if $(CONFIG),--config $(CONFIG))

test: venv
	@$(PY) -m pytest -n 2 -m "not soak"

lint: venv
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m content.lint
	@.venv/bin/kairos schemas check

bench: venv
	@$(PY) -m benchmarks

bench-forgetting: venv
	@$(PY) -m pip install -q "scikit-learn>=1.7,<1.10"
	@$(if $(FULL),$(PY) -m pip install -q --no-deps "seglearn==1.2.5",true)
	@nice -n 5 $(PY) -m benchmarks.forgetting $(if $(FULL),--full)

soak: venv
	@$(PY) -m pytest -n 2 -m soak

clean:
	@rm -rf .venv out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
