# `make serve` and `make test` need Python 3.11 or newer, and nothing else.

PYTHON ?= python3
# PyTorch's index of CPU-only wheels; set it to nothing to install the default build.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

SECONDS ?= 3600
VENV := .venv
INSTALL := sh deploy/install-packages.sh
# Every suite names its ten slowest tests.
SLOWEST := --durations=10
PYTEST := $(VENV)/bin/python -m pytest $(SLOWEST)
# One process per core, at most four: each loads torch, and more gain little.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
CONFORMANCE := .venv-conformance
RAY := .venv-ray
TOOLS := .venv-tools
.PHONY: help install serve test test-service test-conformance test-ray test-browser manifests fuzz mutants soak lint format docs bench lock sbom audit io-errors histories docker clean

help:  ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 18

install:  ## set up for every verb at once, as CI does: one installation instead of four
	$(MAKE) --jobs 3 SETUP_EXTRAS='[dev,mlflow,buckets,browser]' \
		$(VENV)/serve.stamp $(CONFORMANCE)/stamp $(TOOLS)/stamp
	touch $(VENV)/dev.stamp $(VENV)/mlflow.stamp $(VENV)/browser.stamp
	$(MAKE) $(RAY)/stamp

serve: $(VENV)/serve.stamp  ## set up, then serve on http://127.0.0.1:8000
	$(VENV)/bin/mynet serve

test: $(VENV)/dev.stamp  ## set up, then run the tests (four minutes on two cores)
	$(PYTEST) $(PARALLEL) --ignore tests/service --ignore tests/conformance \
		--ignore tests/browser --ignore tests/buckets --ignore tests/manifests --ignore tests/ray \
		--ignore tests/mlflow_tracking/test_worker.py

test-service: $(VENV)/mlflow.stamp  ## start, kill and load whole services
	$(PYTEST) --numprocesses 3 --dist loadfile --no-loadscope-reorder --timeout 1800 \
		--ignore tests/buckets/test_histories.py \
		tests/buckets tests/mlflow_tracking/test_worker.py tests/service

test-conformance: $(VENV)/dev.stamp $(CONFORMANCE)/stamp  ## let real clients of the protocols ask a service
	$(PYTEST) tests/conformance/test_contract.py
	SERVICE=$(CURDIR)/$(VENV)/bin/mynet $(CONFORMANCE)/bin/python -m pytest $(SLOWEST) \
		--confcutdir tests/conformance tests/conformance

test-ray: $(RAY)/stamp  ## serve and train on a Ray cluster, and kill its nodes
	$(RAY)/bin/python -m pytest $(SLOWEST) --timeout 1800 -rfEP tests/ray

test-browser: $(VENV)/browser.stamp  ## open the page in Chromium and Firefox, draw, train and look
	$(PYTEST) --numprocesses 2 --dist loadfile -rfEP tests/browser

manifests: $(TOOLS)/stamp  ## render deploy/k8s, and check it by Kubernetes' schemas
	$(TOOLS)/bin/python -m pytest $(SLOWEST) --confcutdir tests/manifests tests/manifests

fuzz: $(VENV)/dev.stamp  ## send bent inputs for SECONDS, an hour unless told; SEED=N repeats a run
	$(VENV)/bin/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

mutants: $(VENV)/mlflow.stamp  ## break each guarantee, and see that its tests notice; DRAW=5, SEED=N, ROW='…'
	$(VENV)/bin/python -m tests.mutants $(if $(DRAW),--draw $(DRAW)) $(if $(SEED),--seed $(SEED)) \
		$(if $(ROW),--row "$(ROW)") --jobs $(or $(JOBS),2)

lint: $(VENV)/dev.stamp  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy app client/src

format: $(VENV)/dev.stamp  ## let ruff put the code in form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/dev.stamp  ## write the generated pages of docs/reference from the code
	$(VENV)/bin/python -m tools.reference

bench: $(VENV)/bench.stamp  ## measure, and write bench/RESULTS.md
	$(VENV)/bin/python -m bench

lock: $(TOOLS)/stamp  ## pin what the image holds: versions and hashes, in deploy/lock
	sh deploy/lock.sh $(TOOLS)/bin/uv

sbom: $(TOOLS)/stamp  ## list what the image holds, as CycloneDX: sbom.cdx.json
	$(TOOLS)/bin/python deploy/held.py "$(TORCH_INDEX)" "$(EXTRAS)" > $(TOOLS)/held.txt
	$(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.cdx.json $(TOOLS)/held.txt

audit: $(TOOLS)/stamp  ## look for known vulnerabilities in it, where an advisory source answers
	sh deploy/audit.sh $(TOOLS)/bin/pip-audit deploy/lock/default.txt

soak: $(VENV)/dev.stamp  ## everything mixed at random, with kills: make soak MINUTES=60 SEED=7
	MINUTES=$(or $(MINUTES),60) $(if $(SEED),SEED=$(SEED)) $(VENV)/bin/python -m tests.rigs.soak.soak

io-errors: $(VENV)/dev.stamp  ## let every I/O call of what is stored fail in turn; CALLS=N SEED=M draw some
	$(VENV)/bin/python -m tests.rigs.io_errors $(if $(CALLS),--calls $(CALLS)) $(if $(SEED),--seed $(SEED))

histories: $(VENV)/mlflow.stamp  ## find one order that explains the answers of two services; COUNT=N SEED=M STALENESS=10
	$(if $(COUNT),COUNT=$(COUNT)) $(if $(SEED),SEED=$(SEED)) $(if $(STALENESS),STALENESS=$(STALENESS)) \
		$(VENV)/bin/python -m tests.rigs.histories

docker:  ## build the image and bring it up on http://127.0.0.1:8000
	docker compose up --build --detach --wait

clean:  ## remove what set-up made, but nothing that the service made
	rm -rf $(VENV) $(CONFORMANCE) $(RAY) $(TOOLS) .mypy_cache .pytest_cache .ruff_cache *.egg-info client/build client/src/*.egg-info sbom.cdx.json

# A stamp means that the environment has what pyproject.toml requires. It is written last, so that
# an interrupted installation runs again. The client is installed, too, for `mynet --url`.
$(VENV)/serve.stamp: pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "MyNet needs Python 3.11 or newer; name one with: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "On Debian and Ubuntu, venv is a package of its own: sudo apt install python3-venv"; exit 1; }
	@sh deploy/install-torch.sh $(VENV)/bin/python "$(TORCH_INDEX)"
	@$(INSTALL) $(VENV)/bin/python --editable ./client --editable '.$(SETUP_EXTRAS)'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/serve.stamp
	@$(INSTALL) $(VENV)/bin/python --editable '.[dev]'
	@touch $@

$(VENV)/mlflow.stamp: $(VENV)/dev.stamp
	@$(INSTALL) $(VENV)/bin/python --editable '.[dev,mlflow,buckets]'
	@touch $@

$(VENV)/browser.stamp: $(VENV)/dev.stamp
	@$(INSTALL) $(VENV)/bin/python --editable '.[dev,browser]'
	@touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@$(INSTALL) $(VENV)/bin/python --editable '.[dev,bench]'
	@touch $@

# A separate environment, since these clients pin other versions.
$(CONFORMANCE)/stamp: tests/conformance/requirements.txt
	@$(PYTHON) -m venv $(CONFORMANCE)
	@$(INSTALL) $(CONFORMANCE)/bin/python --requirement $<
	@touch $@

# A separate environment, since Ray has many dependencies. It shares PyTorch with the other one.
$(RAY)/stamp: $(VENV)/dev.stamp
	@$(VENV)/bin/python -m venv $(RAY)
	@$(RAY)/bin/python tests/ray/rigs/environment.py $(VENV) pyproject.toml > $(RAY)/wanted.txt
	@$(VENV)/bin/python -m pip freeze --exclude-editable > $(RAY)/constraints.txt
	@$(INSTALL) $(RAY)/bin/python --requirement $(RAY)/wanted.txt --constraint $(RAY)/constraints.txt
	@touch $@

$(TOOLS)/stamp: deploy/tools.txt
	@$(PYTHON) -m venv $(TOOLS)
	@$(INSTALL) $(TOOLS)/bin/python --requirement $<
	@touch $@
