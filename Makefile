# make demo     set everything up and upscale a photograph          make test      run the tests
# make lint     style and types                                     make sanitize  kernel tests under ASan and UBSan
# make format   put files into the house style                      make tidy      check the native code with clang-tidy
# make dev      editable installs, for working on pysr              make clean     remove what these commands made
# make docs     the documentation site: out/site/index.html         make torture   try to break pysr, for an hour or two
# make browser  test the pages in Chromium                          make examples  run all examples, with what they need
# make dist     build and check what is published                   make cuda      compile the CUDA kernels
# make wheels   the core's wheels, by cibuildwheel                  make ray       test folders on a cluster of Ray
# PYSR_CUDA=OFF or ON instead of AUTO decides whether the CUDA kernels are built.

PYTHON ?= python3
VENV ?= .venv
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
PIP := $(BIN)/python -m pip --disable-pip-version-check
PLUGINS := $(wildcard plugins/*/pyproject.toml)
NATIVE := $(shell find csrc tests/emulation -type f -not -name '*.md')
SOURCES := pyproject.toml CMakeLists.txt $(NATIVE) $(shell find src plugins -type f -not -name '*.pyc' -not -name '*.so')

.PHONY: demo test torture browser docs examples dev ray lint tidy format sanitize cuda dist wheels clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py
	@echo "Your own: $(BIN)/pysr upscale PHOTO -s 4"

test: $(VENV)/.dev
	$(BIN)/python -m pytest

dev: $(VENV)/.dev
	$(PIP) install -q --no-build-isolation --no-deps -C build-dir=build/editable -e .
	$(PIP) install -q --no-build-isolation --no-deps $(patsubst %/pyproject.toml,-e ./%,$(PLUGINS))

torture: $(VENV)/.dev
	-$(PIP) install -q --only-binary :all: atheris
	PYTHONPATH=tests $(BIN)/python -m torture

browser: $(VENV)/.dev
	npm install --silent --no-save --no-package-lock axe-core
	$(BIN)/python -m pytest tests/evaluation/test_page_browser.py tests/serve/test_page_browser.py

docs: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt $$($(BIN)/python tests/requirements.py docs)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	$(BIN)/python -m pytest tests/test_site.py

examples: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt $$($(BIN)/python tests/requirements.py examples)
	$(BIN)/python -m pytest tests/test_examples.py

ray: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt "ray>=2.40" "moto[server]" s3fs
	$(PIP) install -q --no-build-isolation --no-deps ./plugins/ray
	$(BIN)/python -m pytest -W default plugins/ray

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)
	$(BIN)/mypy
	$(BIN)/lint-imports

tidy: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt clang-tidy
	$(BIN)/cmake --preset release -DPython_EXECUTABLE=$(abspath $(BIN)/python)
	$(BIN)/clang-tidy -p build/release --quiet $(filter %.cpp,$(filter csrc/%,$(NATIVE)))

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

sanitize: $(VENV)/.dev
	VENV=$(VENV) bash tests/sanitize.sh

cuda: $(VENV)/.environment
	$(BIN)/cmake --preset cuda -DPython_EXECUTABLE=$(abspath $(BIN)/python)
	$(BIN)/cmake --build --preset cuda

wheels:
	$(PYTHON) -m venv build/cibuildwheel
	build/cibuildwheel/$(SCRIPTS)/python -m pip install -q "cibuildwheel>=3"
	build/cibuildwheel/$(SCRIPTS)/python -m cibuildwheel --output-dir wheelhouse

dist: $(VENV)/.environment
	$(PIP) install -q build twine
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	for plugin in $(PLUGINS:/pyproject.toml=); do \
		$(BIN)/python -m build --no-isolation --wheel --outdir dist $$plugin || exit 1; done
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tests/check_dist.py dist

clean:
	rm -rf $(VENV) build dist wheelhouse out

$(VENV)/.environment: constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("pysr needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q "scikit-build-core>=0.10" "pybind11>=2.13" "hatchling>=1.24" editables ninja cmake
	touch $@

$(VENV)/.installed: $(VENV)/.environment $(SOURCES)
	$(PIP) install -q -c constraints.txt --no-build-isolation ".[cli,serve,train]"
	$(PIP) install -q --no-build-isolation --no-deps $(patsubst %/pyproject.toml,./%,$(PLUGINS))
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt $$($(BIN)/python tests/requirements.py dev onnx plot remote serve zarr)
	$(PIP) install -q -c constraints.txt --no-deps einops ncnn spandrel
	touch $@
