# Two commands on a fresh machine: `make demo` runs the main job, `make test` passes the tests. Each sets up .venv first.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
TESTS_AT_ONCE ?= 2

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

.venv/.installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.x")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: env
env:  ## .env for docker-compose.yml, with credentials of your own
	$(PYTHON) compose/make-env

.PHONY: demo
demo: .venv/.installed  ## one incident, end to end, on an embedded Temporal server (SCENARIO=bad-deploy|real-shapes|worse|frozen|shadow|p1|p2|chaos|no-culprit|healthy)
	$(BIN)/commander demo --scenario $(or $(SCENARIO),bad-deploy)

.PHONY: test
test: .venv/.installed  ## every test that this machine can run, but the next three; what it cannot is skipped and counted (COVERAGE=1)
	$(BIN)/python -m pytest --numprocesses=$(TESTS_AT_ONCE) --dist=loadfile --ignore=tests/compose --ignore=tests/kestra -m "not needs_loki" $(if $(COVERAGE),--cov --cov-report=term)

.PHONY: kestra-test
kestra-test: .venv/.installed  ## the flows on the real engine of Kestra 1.3 and 2.0, built first, or of KESTRA=2.0.0; without a JDK they are skipped
	tests/standins/kestra/install
	$(BIN)/python -m pytest tests/kestra -q $(if $(KESTRA),-k "not kestra- or kestra-$(KESTRA)")

.PHONY: loki-test
loki-test: .venv/.installed  ## what is asked of Loki, answered by the real one, which is built first with Go in four minutes
	tests/standins/loki/install
	$(BIN)/python -m pytest tests/contract/test_loki.py -q

.PHONY: compose-test
compose-test: .venv/.installed  ## docker-compose.yml without Kestra's image; on Debian, as root, an engine is started if none answers
	tests/standins/docker/engine run $(BIN)/python -m pytest tests/compose -q

.PHONY: crash
crash: .venv/.installed  ## every boundary of a rollback through GitHub x every fault; .ci/run does half of the boundaries once, in turns
	CRASH_MATRIX=whole $(BIN)/python -m pytest tests/fault/test_crash_matrix.py -q

.PHONY: properties
properties: .venv/.installed  ## 12,500 generated cases of the gate; .ci/run does 3,000
	GATE_CASES=2500 $(BIN)/python -m pytest tests/unit/test_gate_properties.py -q

.PHONY: demos
demos: .venv/.installed  ## every scenario of the demo; .ci/run does a third of them, in turns
	DEMOS=whole $(BIN)/python -m pytest tests/e2e/test_demo.py -q

.PHONY: soak
soak: .venv/.installed  ## five minutes of incidents under random faults; .ci/run does 30 seconds
	SOAK_SECONDS=300 $(BIN)/python -m pytest tests/fault/test_soak.py -q

.PHONY: fleet
fleet: .venv/.installed  ## 200 watched services for five minutes, then all of them bad; .ci/run does 20 for five seconds
	FLEET_SIZE=200 FLEET_SECONDS=300 $(BIN)/python -m pytest tests/fault/test_fleet.py -q

.PHONY: attacks
attacks: .venv/.installed  ## every hostile text of tests/attacks through the whole workflow; .ci/run does a third of them, in turns
	$(BIN)/commander eval attacks tests/attacks --json

.PHONY: standins
standins:  ## install what tests run with and others wrote: aimock, Prism, Toxiproxy, axe-core, Chromium and others
	tests/standins/install

.PHONY: check
check: .venv/.installed  ## lint, format, types, import rules, workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy .github/rollback/deployments.py
	$(BIN)/lint-imports
	$(BIN)/zizmor --quiet --offline --persona=auditor .github

.PHONY: bench
bench: .venv/.installed  ## what the durability costs, as ratios in one run
	$(BIN)/python -m bench

.PHONY: quality
quality: .venv/.installed  ## what the judgement is worth, on recorded and made-up incidents: writes docs/quality.md, in half an hour
	$(BIN)/python -m bench.quality

.PHONY: histories
histories: .venv/.installed  ## record the replay histories anew, after a deliberate change of the workflow's order
	$(BIN)/python -m tests.replay.record

.PHONY: screenshots
screenshots: .venv/.installed  ## the pictures that README shows, taken anew in Chromium
	$(BIN)/python -m tests.e2e.screenshots

.PHONY: lock
lock: .venv/.installed  ## rewrite the hashed locks from pyproject.toml; UPGRADE=1 takes newer versions
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(if $(UPGRADE),--upgrade) --extra dev --constraint requirements.lock --output-file requirements-dev.lock
