# Every target makes .venv and installs by itself when it is missing or older than the files that decide it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Real recordings for tests, where somebody has put them beside the checkout.
ifneq ($(wildcard ../shared/data),)
export CEREBEAM_REAL_DATA ?= $(abspath ../shared/data)
endif
# BLAS threads beside worker processes make two cores slower, not faster.
export OMP_NUM_THREADS ?= 1
# uv installs without bytecode: where Python may not keep it, each command compiles four thousand files again, 4 s.
unexport PYTHONDONTWRITEBYTECODE

# Credentials and passwords, where somebody has put them.
-include .env
export
BUNDLE ?= run-output/bundle
RECORDINGS ?= var/recordings
STACK = $(PY) -m service.stack
SERVED = --config config/config.yaml --set "models.bundles=[$(abspath $(BUNDLE))]" \
	--set "dataset.recordings=$(abspath $(RECORDINGS))"

.PHONY: all quick up down logs health status shell train download help format lint
.PHONY: install install-horovod check docs test demo bench drill pretrain-small pretrain-gpu clean
.DEFAULT_GOAL := install

install: $(STAMP)      ## .venv with everything

# PyTorch first and by itself with pip, which finds a CPU build where one is at hand; uv for the rest is ten times faster.
$(STAMP): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q torch==2.13.0
	$(PY) -m pip install -q uv==$(shell sed -n 's/^uv==//p' constraints.txt)
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(PY) -m uv pip install -q --python $(PY) -c constraints.txt -e '.[train,serve,track,dev]' \
		|| $(PY) -m pip install -q -c constraints.txt -e '.[train,serve,track,dev]'
	touch $@

check: install        ## formatting, style, types, arrows between rooms
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell docs README.md CONTRIBUTING.md infra cerebeam benchmarks
	$(VENV)/bin/actionlint .github/workflows/*.yml
	$(VENV)/bin/zizmor --offline --no-progress -q .github/workflows
	$(VENV)/bin/hadolint infra/docker/*.Dockerfile infra/dataflow/Dockerfile

docs: install         ## the pages as a site in build/site; every link is checked
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build

test: install         ## all tests but the slow ones
	$(PY) -m pytest -n 2 --dist worksteal

demo: install         ## the whole way on a synthetic corpus
	$(VENV)/bin/cerebeam demo --output demo-output

bench: install        ## the figures of docs/benchmarks.md
	$(PY) -m benchmarks spine

# One program a room or question: make bench-preprocess, bench-fuzz, ...; python -m benchmarks lists them.
bench-%: install
	$(PY) -m benchmarks $*

drill: install        ## interrupt a training run in every way
	$(PY) -m benchmarks.drills.drill

# The published checkpoint and its model card, in bench-output/pretrain-small/run/encoder; probes and montages take it.
pretrain-small: install
	$(PY) -m benchmarks.studies.pretraining

# Latents of hidden tokens, 40 minutes at most a call: small on a GPU, tiny on two cores; again, and it goes on.
pretrain-gpu: install
	$(PY) -m benchmarks.studies.pretraining_gpu

# Built from source, about two minutes: not a part of install.
install-horovod: install
	bash infra/horovod/install.sh $(PY)

all: install          ## data, training, report, registry, then the API
	$(VENV)/bin/cerebeam run

quick: install        ## the same with little data and two epochs, without the API
	$(VENV)/bin/cerebeam run --quick --skip-download --no-serve

train: install        ## data, training, report, registry
	$(VENV)/bin/cerebeam run --no-serve

download: install     ## the HMS competition's files, through Kaggle's API
	$(VENV)/bin/cerebeam six-class download

$(BUNDLE):
	$(MAKE) quick

# A synthetic day of monitoring with planted findings, where nobody has given recordings: make up RECORDINGS=FOLDER.
var/recordings: | install
	$(PY) -m synthetic.recordings.monitoring --output var/recordings/day.edf

up: install $(BUNDLE) $(RECORDINGS)   ## viewer and API :8000, MLflow :5000, Prometheus :9090 and Alertmanager :9093 where installed
	$(STACK) up $(SERVED)

down: install         ## end what make up has started
	$(STACK) down $(SERVED)

status: install       ## what runs
	$(STACK) status $(SERVED)

health: install       ## the same; fails unless all of it is ready
	$(STACK) health $(SERVED)

logs: install         ## the last lines of each log
	$(STACK) logs $(SERVED)

shell: install        ## Python with everything installed
	$(PY)

format: install       ## format the code
	$(VENV)/bin/ruff format .

lint: check           ## the same as check

help:                 ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ -/'

clean:                ## delete what was made here
	rm -rf $(VENV) demo-output build *.egg-info
