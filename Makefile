# Every target that needs Python makes .venv from the lock first, once. Nothing is installed outside .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CORES ?= all
PY := .venv/bin/python
SNAKEMAKE := $(PY) -m snakemake $(if $(PROFILE),--profile profiles/$(PROFILE),--cores $(CORES))
# Without SCALE, config.yaml decides.
SCALED := $(if $(SCALE),scale=$(SCALE))

# The rules call `python`: it has to be ours whether or not the environment is activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHON PIP_ARGS
ifeq ($(strip $(SNAKEMAKE_PROFILE)),)
unexport SNAKEMAKE_PROFILE
endif

.PHONY: help
help: ## show this list
	@echo 'usage: make TARGET [SCALE=smoke|desk|gpu|paper] [CORES=n | PROFILE=slurm] [PYTHON=python3.12] [PIP_ARGS=...]'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 14

.PHONY: env-run env-test
env-run:
	@envs/setup.sh run
env-test:
	@envs/setup.sh test

.PHONY: reproduce
reproduce: env-run ## make every table, figure and the report at SCALE (config.yaml's, desk, if left out)
	@$(SNAKEMAKE) $(if $(SCALE),--config $(SCALED))

.PHONY: item
item: env-run ## make one table or figure: ITEM=name [SET="optimizer.lr=2e-3 training.epochs=30"]
	@[ -n "$(ITEM)" ] || { echo "make item: ITEM is empty; allowed: $$(cd workflow/experiments && ls *.yaml | sed 's/\.yaml$$//' | paste -sd' ')" >&2; exit 2; }
	@$(SNAKEMAKE) item --config $(SCALED) item=$(ITEM) $(if $(SET),set="$(SET)")

.PHONY: plan
plan: env-run ## show what SCALE would run: trainings, core-seconds, disk
	@$(PY) -m mpno plan $(if $(SCALE),--scale $(SCALE))

.PHONY: figures
figures: env-run ## draw every table and figure again, without training: from SCALE's runs, or the published tables if left out
	@$(SNAKEMAKE) figures --allowed-rules figures table figure table_and_figure $(if $(SCALE),collect) \
	  --config $(if $(SCALE),$(SCALED),scale=desk drawn_from=results/published/tidy)

.PHONY: check
check: env-run ## compare results/SCALE (desk if left out) with the published tables, cell by cell
	@$(PY) -m mpno check --tidy results/$(or $(SCALE),desk)/tidy

.PHONY: gallery
gallery: env-run ## make every data set at SCALE and draw samples, spectra and histograms of each
	@$(SNAKEMAKE) gallery $(if $(SCALE),--config $(SCALED))

.PHONY: test
test: env-test ## run the tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n logical --maxprocesses 4 --dist loadfile

.PHONY: test-extra
test-extra: env-test ## run the tests marked cluster, faults or browser
	@.ci/test-extra

.PHONY: lint
lint: env-test ## check style, types, layers, workflow and notebooks
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright
	.venv/bin/lint-imports --no-logo --no-cache
	$(PY) -m snakefmt --check Snakefile workflow
	$(PY) -m snakemake --lint
	$(PY) envs/notebooks.py notebooks

.PHONY: lock
lock: ## remake the lock and what is made from it (needs uv); add UV_ARGS=--upgrade for newer versions
	@command -v uv >/dev/null || { echo 'make lock: uv is not on PATH; install it, then call again' >&2; exit 2; }
	cd envs && uv pip compile $(LOCK) run.in -o run.txt
	cd envs && uv pip compile $(LOCK) -c run.txt test.in -o test.txt
	uv run --quiet --no-project --python '>=3.11' envs/render.py

.PHONY: inventory
inventory: env-test ## remake envs/licences.csv and envs/sbom.json from the lock and the installed packages
	@$(PY) envs/inventory.py

.PHONY: audit
audit: env-run ## ask the OSV database what is known against the locked packages (needs the network; exit status 2 without)
	@$(PY) envs/audit.py

LOCK = --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(UV_ARGS)

.PHONY: clean
clean: ## remove results/SCALE, after saying how much that is
	@case '$(SCALE)' in smoke|desk|gpu|paper) ;; *) echo "make clean: SCALE is '$(SCALE)'; allowed: smoke, desk, gpu, paper" >&2; exit 2 ;; esac
	@if [ ! -d results/$(SCALE) ]; then echo 'make clean: results/$(SCALE) is not there; nothing to remove'; else \
	  echo "make clean: removing results/$(SCALE): $$(find results/$(SCALE) -type f | wc -l) files, $$(du -sh results/$(SCALE) | cut -f1)"; \
	  if [ -t 0 ]; then read -rp 'go on? [y/N] ' answer; [[ $$answer == [yY]* ]] || { echo 'make clean: nothing removed'; exit 0; }; fi; \
	  rm -r results/$(SCALE); fi
