.DEFAULT_GOAL := help
BIN ?= .venv/bin

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

demo: ## Set up, start the stack, quantize a real model, show the evidence (APPROVE=yes approves)
	scripts/setup core ml serve
	$(BIN)/greenlight demo

quickstart: ## The stack with two simulated engines live, backed up and restored: no model is needed (minutes)
	scripts/setup core ml
	$(BIN)/greenlight quickstart

up: ## Start the stack on this machine, and what was live here; prints addresses and log-in
	scripts/setup core
	$(BIN)/greenlight stack up
	$(BIN)/greenlight deploy start --local

down: ## Stop the stack and this machine's fleets; the data stays (`greenlight stack down`: only the stack)
	@if [ -x $(BIN)/greenlight ]; then $(BIN)/greenlight stack down; $(BIN)/greenlight deploy stop --local --yes; fi

test: ## Set up, check, and run the tests (minutes)
	scripts/setup dev ml autogptq
	$(MAKE) --no-print-directory check
	$(BIN)/pytest -m "not slow and not serve and not crash and not backup and not ui"

test-slow: ## Set up everything and run what takes longer: the real model, the serving engine
	scripts/setup dev ml autogptq serve
	$(BIN)/pytest -m "slow or serve"

test-crash: ## Kill the controller at every journaled step, and the router (minutes)
	scripts/setup dev
	$(BIN)/pytest -m crash

test-backup: ## Back up, damage, kill and restore on real databases and stores (minutes)
	scripts/setup dev ml
	$(BIN)/pytest -m backup

test-ui: ## The Greenlight page in a real Airflow, driven in headless Chromium (minutes)
	scripts/setup dev
	$(BIN)/pytest -m ui

test-aws: ## Drive every part of AWS against moto in one story, and drain hosts under streams (a minute)
	scripts/setup dev
	$(BIN)/pytest tests/integration/aws tests/contract/test_event_queues.py tests/contract/test_schedule_targets.py $(wildcard tests/unit/adapters/test_aws_*.py)

test-compose: ## Build and start docker-compose.yaml's services, as far as images can be had (root; many minutes)
	scripts/setup dev
	scripts/test-compose

test-faults: ## Damage a backup in every known way; last line: one JSON object (minutes)
	scripts/setup core
	$(BIN)/python benchmarks/faults.py

drill: ## Lose a region and the database of a real model's home, restore from the other (minutes)
	scripts/setup core ml
	$(BIN)/python benchmarks/drill.py

check: ## Format check, lint, types, import contracts, docker-compose.yaml (seconds)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	GREENLIGHT_UID=1 GREENLIGHT_GID=1 $(BIN)/docker-compose --env-file /dev/null --profile '*' config -q

fix: ## Apply formatting and safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-quantize: ## The pipeline beside a bare gptqmodel script; last line: one JSON object
	scripts/setup core ml autogptq serve
	$(BIN)/python benchmarks/quantize.py

bench-gate: ## Error rates of the gate beside a point estimate; last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/gate.py

bench-deploy: ## Switches and rollbacks under load on ten simulated hosts; last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/deploy.py

bench-calls: ## A known key, a known token, one look of a rollout; last line: one JSON object (seconds)
	scripts/setup core
	$(BIN)/python benchmarks/calls.py

bench-analysis: ## Error rates of the rollout's analysis; last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/analysis.py

bench-backup: ## The pipeline beside bare pgBackRest and restic, by size; last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/backup.py

bench-gateway: ## The gateway beside LiteLLM, a plain proxy and HAProxy; last line: one JSON object
	scripts/setup dev
	$(BIN)/python benchmarks/gateway.py

bench-waf: ## Prompts and attacks through the real nginx; last line: one JSON object
	scripts/setup dev
	$(BIN)/python benchmarks/waf.py

bench-rightsizing: ## Right-sizing rules backtested on series (SERIES_DIR=folder); last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/rightsizing.py

bench-cost: ## A month of 1,000 hosts priced, shared out and sized; last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/cost.py

bench-scaling: ## Schedules replayed beside static, HPA and an oracle (DEMAND=file.csv); last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/scaling.py

bench-forecast: ## Forecasts beside seasonal naive (SERIES_DIR=folder); last line: one JSON object
	scripts/setup core
	$(BIN)/python benchmarks/forecast.py

bench-platform: ## First demo and tests in a new clone (FRESH=no leaves them out), memory, parsing, latency; last line: one JSON object
	scripts/setup dev
	$(BIN)/python benchmarks/stack.py

dashboards: ## Write Grafana's dashboards and Prometheus' pages anew from monitoring/grafana/boards.py
	scripts/setup dev
	$(BIN)/python monitoring/grafana/generate.py

record-demo: ## Run `make demo` and write docs/demo.cast, for `asciinema play -i 1` (as long as the demo)
	python3 docs/record_demo.py

reference: ## Write the generated parts of docs/reference anew: metrics, commands, the gateway's OpenAPI
	scripts/setup core
	$(BIN)/python docs/reference/write_pages.py

setup: ## Make every environment, for an editor
	scripts/setup dev ml autogptq serve

lock: ## Compile requirements*.in into the committed locks
	scripts/setup dev ml autogptq
	scripts/lock

clean: ## Remove caches of tools; environments, .greenlight and its data stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find dags plugins include tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo quickstart up down test test-slow test-crash test-backup test-ui test-compose test-faults drill check fix bench-quantize bench-gate bench-deploy bench-calls bench-analysis bench-backup bench-gateway bench-waf bench-rightsizing bench-cost bench-scaling bench-forecast bench-platform dashboards record-demo reference setup lock clean
