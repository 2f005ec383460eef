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

.PHONY: install install-horovod check test demo bench drill pretrain-small clean
.DEFAULT_GOAL := install

install: $(STAMP)

# PyTorch first and by itself with pip, which finds a CPU build where one is at hand; uv for the rest is ten times faster.
$(STAMP): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q torch==2.13.0
	$(PY) -m pip install -q uv==$(shell sed -n 's/^uv==//p' constraints.txt)
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(PY) -m uv pip install -q --python $(PY) -c constraints.txt -e '.[train,serve,track,dev]' \
		|| $(PY) -m pip install -q -c constraints.txt -e '.[train,serve,track,dev]'
	touch $@

check: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: install
	$(PY) -m pytest -n 2 --dist worksteal

demo: install
	$(VENV)/bin/cerebeam demo --output demo-output

bench: install
	$(PY) -m benchmarks.benches.spine

# One program a room or question: make bench-preprocess, bench-fuzz, ...; python -m benchmarks lists them.
bench-%: install
	$(PY) -m benchmarks $*

drill: install
	$(PY) -m benchmarks.drills.drill

# The published checkpoint and its model card, in bench-output/pretrain-small/run/encoder; probes and montages take it.
pretrain-small: install
	$(PY) -m benchmarks.studies.pretraining

# Built from source, about two minutes: not a part of install.
install-horovod: install
	bash infra/horovod/install.sh $(PY)

clean:
	rm -rf $(VENV) demo-output build *.egg-info
