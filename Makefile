# Everything from a fresh clone: `make demo` shows the shipped models at work, `make test` runs the tests.
# Each target first creates .venv and installs and builds what is missing; the second time it is quick.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# Test processes, of one thread each. "auto": one per core.
TEST_PROCESSES ?= auto
WORKFLOWS := $(wildcard .github/workflows/*.yml)

SOURCES := setup.py $(wildcard csrc/*.cpp csrc/*/*)
# Environment variables that setup.py reads; a new value triggers a rebuild.
OPTIONS := $(foreach name,FORCE_CUDA TORCH_CUDA_ARCH_LIST CUDA_HOME INSIGHT_BUILD_OPS DEBUG,$(name)=$($(name)))

.PHONY: help install demo test lint docs wheel-check qgis-plugin bench gpu-check clean always

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.built  ## Create .venv, install the dependencies, build the library

demo: install  ## Show the shipped models on drawn scenes (two minutes); tools/demo.py --train trains one
	$(BIN)/python tools/demo.py

test: install  ## Run the tests on all cores (PYTEST_ARGS="-m 'slow or not slow'" for all tests)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

lint: install  ## Check style, types, the Dockerfile, CITATION.cff and the CI workflows
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	find csrc tests/ops/cuda_on_host -type f | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/zizmor --offline --quiet --no-progress $(WORKFLOWS)

docs: install  ## Build the documentation site into site/; broken links fail
	$(BIN)/mkdocs build --strict

wheel-check: install  ## Build the source distribution and the wheel, install it elsewhere, and try it
	$(BIN)/python scripts/check_wheel.py

qgis-plugin:  ## Write dist/insight_masks.zip, the QGIS plugin
	$(PYTHON) scripts/build_qgis_plugin.py

bench: install  ## Measure the kernels and the detector against PyTorch, as ratios
	$(BIN)/python benchmarks/run.py

gpu-check: $(VENV)/.deps  ## On a machine with a GPU: build with CUDA, test, sanitize, measure, train (10 minutes)
	$(BIN)/python benchmarks/gpu_check.py

clean:  ## Remove the environment and what was built
	rm -rf $(VENV) build dist site insight/*.so insight/_build.json *.egg-info

# A stamp is written last, so that an interrupted install resumes.
$(VENV)/.deps: pyproject.toml constraints.txt insight/runtime/detectron2_install.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "insight needs Python 3.11 or later, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt "setuptools>=77,<81" wheel ninja pybind11 torch torchvision
	INSIGHT_BUILD_OPS=0 $(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation \
	  -e ".[detectron2,light,geo,ray,serve,cvat,onnx,test,dev,docs]"
	$(BIN)/python -m insight install-detectron2
	touch $@

$(VENV)/.built: $(VENV)/.deps $(VENV)/.options $(SOURCES) $(if $(wildcard insight/_C.so),,always)
	$(BIN)/python setup.py --quiet build_ext --inplace
	$(BIN)/python -m insight info
	touch $@

$(VENV)/.options: $(VENV)/.deps always
	@echo '$(OPTIONS)' | cmp -s - $@ || echo '$(OPTIONS)' > $@
