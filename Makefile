# Two commands do everything on a fresh machine with python3.11+, make and git: `make demo` and `make test`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
# The folder datasets/ must never shadow a package of that name.
export PYTHONSAFEPATH := 1
# Python keeps compiled modules: else every process that the tests start compiles torch and lightning again, 20 s of a core each.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUTPUT ?= runs/demo
JOB ?= configs/demo_sensing
PORT ?= 6006
PROCESSES ?= 2
# A training that was interrupted goes on.
RESUME = $(if $(wildcard $(1)/checkpoints/last.ckpt),--ckpt_path last)
NOTEBOOKS := $(patsubst docs/tutorials/%.py,build/notebooks/%.ipynb,$(wildcard docs/tutorials/*.py))

.PHONY: help setup test test-slow check format demo demo-sir weights weights-aps weights-roles native native-check native-arm mutations tensorboard bench-labels gpu-check history notebooks docs wheel wheel-check release clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(STAMP) ## put everything into .venv (a second when nothing changed)

# pip finds uv as it is told to find anything; a folder of wheels that pip is told of serves uv as well.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { \
	  for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exec $$python -m venv $(VENV); \
	  done; echo "make: no Python >= 3.11 found; install one or say make PYTHON=/path/to/python" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(addprefix --find-links ,$(PIP_FIND_LINKS)) \
	  --constraint constraints.txt --build-constraint constraints.txt --editable '.[dev]'
	@touch $@

native: $(STAMP) ## build the compiled core of the deployed allocator again; needs a C compiler
	$(BIN)/python setup.py --quiet build_ext --inplace

# The library with checks of memory and of undefined behaviour, under the core's tests. Leaks of Python itself are not looked for.
native-check: $(STAMP) ## the core's tests under AddressSanitizer and UndefinedBehaviorSanitizer; needs gcc
	@mkdir -p build
	$(CC) -O1 -g -std=gnu11 -fno-math-errno -Wall -Wextra -Werror -Wno-psabi -fPIC -shared -DUNWRITTEN_IS_NAN \
	  -fsanitize=address,undefined -fno-sanitize-recover=all -o build/_native_checked.so native/*.c -lm
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	  ISAC_TORCH_NATIVE=build/_native_checked.so $(BIN)/pytest tests/deployment/test_native.py \
	  tests/deployment/test_native_roads.py tests/large

# A cross compiler of GCC, or that of zig, which `pip install ziglang` brings.
native-arm: ## does the core compile for aarch64? needs aarch64-linux-gnu-gcc, or ziglang for PYTHON
	@mkdir -p build
	$$(command -v aarch64-linux-gnu-gcc || echo "$(or $(PYTHON),$(BIN)/python) -m ziglang cc -target aarch64-linux-gnu") \
	  -O3 -std=gnu11 -fno-math-errno -Wall -Wextra -Werror -Wno-psabi -fPIC -shared -o build/_native_aarch64.so native/*.c -lm

# One thread of linear algebra in each of the processes that share the cores: more of them wait for each other, and use a core for it.
test test-slow: export OMP_NUM_THREADS := 1
test: $(STAMP) ## every fast test
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile

mutations: $(STAMP) ## change one random place of the code at a time and see whether a test notices (about an hour)
	$(BIN)/python benchmarks/mutations.py --json runs/mutations.json

test-slow: $(STAMP) ## the slow tests: full-size Monte Carlo and the like
	$(BIN)/pytest -m slow

check: $(STAMP) ## what a contribution must pass besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff repair and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(STAMP) ## the main job: labelled drops, a trained allocator, a benchmark table in runs/demo
	$(BIN)/isac-torch generate --config $(JOB)/generate.yaml --output $(OUTPUT)/drops
	$(BIN)/isac-torch train --config $(JOB)/train.yaml --data.init_args.path $(OUTPUT)/drops --output $(OUTPUT)/training $(call RESUME,$(OUTPUT)/training)
	$(BIN)/isac-torch evaluate --config $(JOB)/evaluate.yaml --checkpoint $(OUTPUT)/training/model.pt --output $(OUTPUT)
	$(BIN)/isac-torch report $(OUTPUT)
	@echo "Table, summary.json, CSV, figures and report.html: $(OUTPUT). Curves and figures in a browser: make tensorboard"

demo-sir: ## the same under the sensing constraint of the paper, in runs/demo-sir
	$(MAKE) demo JOB=configs/demo OUTPUT=$(OUTPUT)-sir

weights: $(STAMP) ## train the shipped network again (about a quarter of an hour of one core) into runs/training/sizes
	$(BIN)/isac-torch generate --config configs/generate/unseen_val.yaml
	$(BIN)/isac-torch train --config configs/train/sizes.yaml $(call RESUME,runs/training/sizes)

weights-aps: $(STAMP) ## train the policy that runs at the APs again (about 80 minutes of one core) into runs/training/distributed_noise
	$(BIN)/isac-torch generate --config configs/generate/unseen_val.yaml
	for part in train tune noise; do $(BIN)/isac-torch distributed train --config configs/distributed/$$part.yaml || exit 1; done
	$(BIN)/isac-torch distributed export --checkpoint runs/training/distributed_noise/model.pt --output runs/policy.npz

weights-roles: $(STAMP) ## train the network that scores sets of receive APs again (about a quarter of an hour of one core) into runs/training/roles
	$(BIN)/isac-torch roles train --config configs/roles/train.yaml

tensorboard: $(STAMP) ## look at runs/ in a browser
	$(BIN)/tensorboard --logdir runs --port $(PORT)

gpu-check: $(STAMP) ## parity with the processor and speed of a cuda device, in eight minutes: runs/gpu_check.json
	$(BIN)/python benchmarks/gpu_check.py --json runs/gpu_check.json

history: $(STAMP) ## append today's speed and quality to docs/history.jsonl and draw all lines (a minute)
	$(BIN)/python benchmarks/history.py

bench-labels: $(STAMP) ## time the label engines against each other
	$(BIN)/python benchmarks/label_throughput.py --json runs/label_throughput.json

# Wanted by few, so not part of `setup`: each set of tools has a stamp of its own.
$(VENV)/.%: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(addprefix --find-links ,$(PIP_FIND_LINKS)) \
	  --constraint constraints.txt --build-constraint constraints.txt --editable '.[dev,$*]'
	@touch $@

notebooks: $(NOTEBOOKS) ## execute the tutorials: build/notebooks

build/notebooks/%.ipynb: docs/tutorials/%.py | $(VENV)/.docs
	@mkdir -p $(@D)
	TQDM_DISABLE=1 $(BIN)/jupytext --quiet --to ipynb --set-kernel python3 --execute --output $@ $<

docs: $(VENV)/.docs $(NOTEBOOKS) ## the documentation site in build/site; opens from the folder, without the internet
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/.release ## wheel and sdist in dist/, checked
	rm -rf dist
	$(BIN)/uv build --quiet $(addprefix --find-links ,$(PIP_FIND_LINKS)) --build-constraint constraints.txt --python $(BIN)/python
	$(BIN)/twine check --strict dist/*

wheel-check: $(STAMP) ## install the wheel into a fresh environment and run the README's commands in an empty folder
	$(BIN)/pytest -m slow tests/test_wheel.py

# Package indexes refuse wheels of `linux_x86_64`, so the wheel is one for every platform; the sdist has the compiled core's sources.
release: export ISAC_TORCH_NATIVE := 0
release: check wheel ## rehearse a release: versions agree, wheel and checksums in dist/; prints what is left to do, changes nothing
	@version=$$($(BIN)/python -c 'import isac_torch; print(isac_torch.__version__)'); \
	grep -q "^version: $$version$$" CITATION.cff || { echo "make: CITATION.cff names another version than $$version" >&2; exit 1; }; \
	grep -q "^## \[.*$$version" CHANGELOG.md || { echo "make: CHANGELOG.md has no heading for $$version" >&2; exit 1; }; \
	(cd dist && sha256sum *.whl *.tar.gz | tee SHA256SUMS); \
	grep -q '^\[project.urls\]' pyproject.toml || echo "No public address yet: [project.urls] in pyproject.toml (Source, Documentation, Issues, Changelog) and repository-code in CITATION.cff."; \
	echo "Left to do for $$version: make test-slow and make wheel-check; date in CHANGELOG.md and CITATION.cff; git tag -a v$$version; publish dist/."

clean: ## remove caches; .venv and runs stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
