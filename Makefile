# One line a target; people, pre-commit and CI run the same commands.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PROTOS := $(shell find protos -name '*.proto')
NATIVE := services/inference_worker/engine/native
SOURCES := $(wildcard $(NATIVE)/csrc/* $(NATIVE)/building.py)
BUF := .ci/node_modules/.bin/buf

.PHONY: install demo up down test soak bench bench-peers bench-rl quality precision lint format protos breaking examples clean help

help: ## Lists the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s ':'

install: .venv/native ## Makes .venv and installs everything that serves.

demo: .venv/native ## Starts the mesh, runs the tour, stops the mesh.
	@$(BIN)/trunkline tour

up: .venv/native ## Starts the mesh in the foreground; Ctrl-C drains and stops it.
	@$(BIN)/trunkline up

down: ## Stops a mesh that runs in containers.
	docker compose down

test: .venv/tools .venv/native examples ## Runs every test but the long ones.
	$(BIN)/pytest -m "not soak" $(ARGS)

soak: .venv/tools .venv/native examples ## Runs the long forms: full counts, kills, hours.
	$(BIN)/pytest -m soak --timeout 7200 $(ARGS)

bench: .venv/tools .venv/native ## Compares with the peers that are built, and writes benchmarks/*.md.
	$(BIN)/python -m benchmarks.generation $(ARGS)
	$(BIN)/python -m benchmarks.embedding $(ARGS)

bench-peers: .venv/tools ## Builds the peers of bench in ~/.cache/trunkline/peers (10 GB, half an hour).
	$(BIN)/python -m benchmarks.peers

bench-rl: .venv/tools ## Learns every task of policies with five seeds (hours), and writes the table.
	$(BIN)/python -m benchmarks.policy_quality $(ARGS)

quality: .venv/tools ## Measures the recommender on MovieLens-100K by full ranking.
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.recommender_quality $(ARGS)

precision: .venv/tools ## Compares the precisions of the default model with float32.
	$(BIN)/python -m benchmarks.precision --into benchmarks/precision.md

lint: .venv/tools $(BUF) breaking ## Checks style, types, imports and protos.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BUF) lint

breaking: .venv/tools $(BUF) ## Compares the protos with the released ones.
	@sh .ci/breaking $(BUF)

format: .venv/tools ## Formats the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: .venv/tools ## Makes gen/ anew after a change of a proto.
	$(BIN)/python hatch_build.py

examples: examples/node/node_modules ## Installs what the Node example needs, where npm is.

clean: ## Removes what the targets made; the cache of models stays.
	rm -rf .venv gen $(NATIVE)/build .ci/node_modules examples/node/node_modules

# The stamps keep pip (and so the network) out of a second run.
.venv/installed: pyproject.toml constraints.txt hatch_build.py $(PROTOS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trunkline needs Python 3.11 or newer")'
	@echo "Installing Trunkline into .venv (once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -e ".[all]"
	@touch $@

# Installing compiled it; a change of its sources compiles it anew.
.venv/native: .venv/installed $(SOURCES)
	@$(BIN)/python $(NATIVE)/building.py
	@touch $@

.venv/tools: .venv/installed
	@echo "Installing the tools for tests and checks into .venv (once) …"
	@$(PIP) -e ".[all,test,lint]"
	@touch $@

$(BUF): .ci/package.json
	npm install --silent --no-package-lock --prefix .ci && touch $@

examples/node/node_modules: examples/node/package.json
	@if command -v npm >/dev/null; then npm install --silent --no-package-lock --prefix examples/node && touch $@; else echo "npm is not here: the Node example is skipped"; fi
