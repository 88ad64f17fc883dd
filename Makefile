# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo dev test test-live faults fuzz mutants bench browser test-ui engine images containers lint format docs lock clean

VENV := .venv
READY := $(VENV)/.ready
BENCH := .venv-bench
DBT := .venv-dbt
PEERS := .venv-peers
PORT ?= 3000
IS_REAL := $(filter-out 0 no false,$(REAL))
DATA := $(if $(IS_REAL),.taxi-tlc,.taxi)
PUBLISHER := $(if $(IS_REAL),--publisher tlc)
FUZZ_SECONDS ?= 60
EACH ?= 8
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Every process would compile the project anew where the machine's environment sets it.
export PYTHONDONTWRITEBYTECODE :=

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## a few months through the whole platform, on this machine (REAL=1: TLC's own months)
	@taxi local $(PUBLISHER) taxi demo
	@echo
	@echo "The data lies in $(DATA)/. Run 'make dev$(if $(IS_REAL), REAL=1)' for Dagster's UI on it."

dev: $(READY) ## Dagster's UI and daemon on the embedded stack (PORT=3000; REAL=1: TLC's months)
	@python -c "import socket; socket.socket().bind(('127.0.0.1', $(PORT)))" 2>/dev/null || { \
	  echo "Port $(PORT) is taken: name another one, as in make dev PORT=3001." >&2; exit 1; }
	@taxi local $(PUBLISHER) dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

SIDE_BY_SIDE := pytest --dist loadscope --no-loadscope-reorder -m "not long" --durations 10
# These compute, each in a worker with a stack of its own.
COMPUTING := $(SIDE_BY_SIDE) -n logical --maxprocesses 8
# These wait, for daemons and processes.
WAITING := $(SIDE_BY_SIDE) -n 3
LIVE := taxi_pipeline_tests/live taxi_pipeline_tests/faults

# Integration first: its files are long, and whoever got one last would end long after the others.
test: $(READY) $(DBT)/.ready ## units, and the whole platform on the embedded stack (COVERAGE=yes: and what it ran)
ifdef COVERAGE
	coverage erase
	coverage run -m $(COMPUTING) --ignore taxi_pipeline_tests/ui \
	  --ignore taxi_pipeline_tests/containers --junitxml build/tests.xml
	coverage combine -q && coverage report --skip-covered
else
	$(COMPUTING) taxi_pipeline_tests/integration taxi_pipeline_tests/unit \
	  --junitxml build/tests.xml
endif

test-live: $(READY) ## processes of their own: Dagster's daemon, command lines, stacks, the quick faults
	$(WAITING) $(LIVE) --junitxml build/live.xml

faults: $(READY) ## break runs in every way of docs/reliability.md, and print what came of it
	pytest -m long --ignore taxi_pipeline_tests/faults --ignore taxi_pipeline_tests/containers
	pytest -n 2 taxi_pipeline_tests/faults

browser: ## a Chromium for the browser tests, if this machine has none
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	  if command -v $$name; then exit 0; fi; \
	done; \
	if command -v apt-get > /dev/null; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -q && $$sudo apt-get install -qy chromium; \
	elif command -v brew > /dev/null; then \
	  brew install --cask chromium; \
	else \
	  echo "There is neither apt-get nor brew here: install Chromium or Chrome by hand." >&2; exit 1; \
	fi

test-ui: $(READY) ## Dagster's UI in a browser; the pictures lie in build/screenshots/
	pytest taxi_pipeline_tests/ui

engine: ## Docker's engine for the tests in containers, if this machine has none
	@if docker version > /dev/null 2>&1; then \
	  docker version --format 'An engine answers: {{.Server.Version}}.'; \
	elif command -v dockerd > /dev/null && command -v mmdebstrap > /dev/null; then \
	  echo "The tests start an engine of their own."; \
	elif command -v apt-get > /dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -q && apt-get install -qy docker.io mmdebstrap; \
	else \
	  echo "No engine answers, and it is not root who asks, on Debian: the tests say that they skip."; \
	fi

images: $(READY) engine ## the images that the tests in containers run
	python -m taxi_pipeline_tests.containers.images

containers: $(READY) engine ## the image, and deploy/compose through deploys, kills and restarts (QUICK=yes: without these)
	pytest taxi_pipeline_tests/containers $(if $(QUICK),-m "not long") --junitxml build/containers.xml

lint: $(READY) ## style, types, import directions, and that Dagster loads what is declared
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	DG_CLI_CONFIG=.ci/dg.toml dg check defs

format: $(READY) ## rewrite the code in the project's style
	ruff check --fix .
	ruff format .

fuzz: $(READY) ## hostile files, led by coverage, FUZZ_SECONDS a format (Linux on x86-64)
	@python -c "import atheris" 2>/dev/null || { \
	  echo "The fuzzer, atheris, has no wheel for this machine: use Linux on x86-64." >&2; exit 1; }
	python -m taxi_pipeline_tests.fuzz csv --seconds $(FUZZ_SECONDS)
	python -m taxi_pipeline_tests.fuzz parquet --seconds $(FUZZ_SECONDS)

mutants: $(READY) ## mutants of the platform's heart that the tests do not kill, EACH a module
	@python -m taxi_pipeline_tests.mutants --each $(EACH)

bench: $(BENCH)/.ready $(PEERS)/.ready ## measure the project beside other ways, into benchmarks/results.md
	@PATH="$(CURDIR)/$(BENCH)/bin:$$PATH" python -m benchmarks

docs: $(READY) ## write the data dictionary, the requests to Google, docs/reliability.md's tables and dbt's sources anew
	python -m docs.dictionary > docs/data-dictionary.md
	python -m docs.tables
	python -m docs.requests
	taxi export dbt --store postgres --output examples/dbt/models/sources.yml

lock: ## pin the newest versions that fit pyproject.toml
	uv pip compile -q --universal --python-version 3.13 --upgrade --extra deploy pyproject.toml \
	  -o requirements.lock
	uv pip compile -q --universal --python-version 3.13 --upgrade --extra deploy --extra openlineage \
	  -c requirements.lock pyproject.toml -o requirements-openlineage.lock
	uv pip compile -q --universal --python-version 3.13 --upgrade --extra deploy --extra openlineage \
	  --extra local --extra dev --extra fuzz \
	  -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.13 --upgrade --extra deploy --extra local --extra dev --extra bench \
	  -c requirements-dev.lock pyproject.toml -o requirements-bench.lock
	uv pip compile -q --universal --python-version 3.13 --upgrade --group dbt \
	  -c requirements.lock -o requirements-dbt.lock
	uv pip compile -q --universal --python-version 3.13 --upgrade --group peers -o requirements-peers.lock

clean: ## remove the environment and the embedded stack's data
	@for data in .taxi .taxi-tlc; do \
	  [ ! -e $$data/stack.json ] || { echo "A stack runs in $$data (make dev?): end it first. If it" \
	    "was killed, 'make demo' clears it away, that of .taxi-tlc with REAL=1." >&2; exit 1; }; \
	done
	@[ ! -e .containers/dockerd.pid ] || { echo "An engine of containers runs on .containers: end" \
	  "the tests in containers first. If they were killed, 'make images' ends it." >&2; exit 1; }
	rm -rf $(VENV) $(BENCH) $(DBT) $(PEERS) .uv .taxi .taxi-tlc .containers

$(READY): LOCK := requirements-dev.lock
$(READY): requirements-dev.lock
$(BENCH)/.ready: LOCK := requirements-bench.lock
$(BENCH)/.ready: requirements-bench.lock
$(DBT)/.ready: LOCK := requirements-dbt.lock
$(DBT)/.ready: requirements-dbt.lock
$(PEERS)/.ready: LOCK := requirements-peers.lock
$(PEERS)/.ready: requirements-peers.lock

# uv finds or fetches the Python that .python-version names, and installs what the lock pins.
$(READY) $(BENCH)/.ready $(DBT)/.ready $(PEERS)/.ready: pyproject.toml .python-version
	@set -e; uv=$$(command -v uv || true); \
	if [ -z "$$uv" ]; then \
	  uv=.uv/bin/uv; \
	  [ -x $$uv ] || { python3 -m venv .uv && .uv/bin/python -m pip install -q uv; } || { \
	    echo "uv, which builds the environment, could not be installed: install it by hand" \
	      "(pip install uv) and run make again." >&2; exit 1; }; \
	fi; \
	[ -x $(@D)/bin/python ] || $$uv venv -q $(@D) || { \
	  echo "Python 3.13 was not found and could not be fetched: install it" \
	    "(python.org, pyenv install 3.13, or your system's packages) and run make again." >&2; \
	  exit 1; }; \
	echo "Installing what $(LOCK) pins ..."; \
	$$uv pip sync -q --compile-bytecode --python $(@D)/bin/python $(LOCK); \
	$$uv pip install -q --python $(@D)/bin/python --no-deps -e .
	@touch $@
