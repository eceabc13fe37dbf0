# make run: the default study, offline. make test: all tests. Both set up .venv first.
# make gguf: llama.cpp besides, compiled in minutes. make test-slow: the tests that take minutes too.
# CORES is how many jobs run at once; STUDY is another study's file.

CORES ?= $(shell python3 -c "import os; print(os.cpu_count())")
PYTHON ?= python3
STUDY ?=
ifneq ($(STUDY),)
ifeq ($(wildcard $(STUDY)),)
$(error STUDY=$(STUDY): there is no such file)
endif
endif
VENV := .venv
# Whole files of tests, as what they share is made once, in the order of tests/conftest.py.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
STAMP := $(VENV)/.installed

.PHONY: run dry checked test test-slow check setup gguf reference

# Snakemake does not say which line of a study is no YAML.
run: setup checked
	$(VENV)/bin/snakemake --cores $(CORES) $(if $(STUDY),--configfile $(STUDY))

dry: setup checked
	$(VENV)/bin/snakemake -n --quiet rules reason --cores $(CORES) $(if $(STUDY),--configfile $(STUDY))

checked: setup
	$(if $(STUDY),$(VENV)/bin/python -m meltpoint.study.check $(STUDY))

test: setup
	$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE)

test-slow: setup gguf
	$(VENV)/bin/python -m pytest $(SIDE_BY_SIDE) -m "slow or not slow"

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/snakemake --lint
	$(VENV)/bin/python -m meltpoint.study.reference --check

reference: setup
	$(VENV)/bin/python -m meltpoint.study.reference

setup: $(STAMP)

# Without llama.cpp's parts for images and for command-line tools, which nothing here uses.
LLAMA_CPP := -DLLAVA_BUILD=OFF '-DCMAKE_PROJECT_INCLUDE_BEFORE=$(CURDIR)/envs/llama_cpp.cmake'
gguf: setup
	CMAKE_ARGS="$(LLAMA_CPP) $$CMAKE_ARGS" $(VENV)/bin/pip install --quiet -r requirements-gguf.txt

# PyTorch first and by itself: a package that asks for it later must not choose another build.
$(STAMP): requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet $$(grep '^torch==' requirements.txt)
	$(VENV)/bin/pip install --quiet -r requirements.txt
	touch $(STAMP)
