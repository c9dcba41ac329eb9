# Every target builds what it needs. `make help` lists them.
PYTHON ?= python3
ARGS ?=
JOBS ?= 2
BIN := .venv/bin
# Named after this folder: the scripts of a copied or moved .venv would work on the first one.
STAMP := .venv/.installed-$(shell printf %s '$(CURDIR)' | cksum | cut -d' ' -f1)
# Scratch results of the notebook checks, filled with the committed ones (00 and 16 read results of the others).
SCRATCH := reports/runs/nbval
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help data run full test lab report book notebooks bench peers lock lint clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	[ -e $@ ] || rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

data: $(STAMP) ## fetch the real data sets
# Without network the notebooks still run and say which part they skipped; CI allows no skip.
	$(BIN)/causal-lib data fetch || { [ "$${CI:-}" != true ] && echo "going on without the data that could not be had"; }

run: data ## execute the notebooks, e.g. make run ARGS="01 05 -p days=10"
	$(BIN)/causal-lib run --jobs $(JOBS) $(ARGS)

full: data ## execute the notebooks at the article's sizes (notebooks/full.yaml)
	$(BIN)/causal-lib run --profile full --jobs $(JOBS) $(ARGS)

notebooks: data ## execute the notebooks and write the outputs back into notebooks/
	$(BIN)/causal-lib run --in-place --jobs $(JOBS) $(ARGS)

test: data ## unit tests, notebook structure, the notebooks' checked outputs, MySQL
	OMP_NUM_THREADS=1 $(PYTEST) -m "not mysql"
	rm -rf $(SCRATCH) && mkdir -p $(SCRATCH) && cp -r reports/results $(SCRATCH)/
	CAUSAL_LIB_REPORTS=$(CURDIR)/$(SCRATCH) OMP_NUM_THREADS=1 $(PYTEST) --nbval-lax --nbval-current-env notebooks
	$(BIN)/python -m pytest -m mysql tests

lab: $(STAMP) ## open JupyterLab on this machine only
	$(BIN)/jupyter lab --ip 127.0.0.1 notebooks

report: $(STAMP) ## make the generated blocks of the READMEs and of the pages in reports anew
	$(BIN)/causal-lib report

book: $(STAMP) ## make the offline site of all notebooks, reports/book/index.html
	$(BIN)/causal-lib book

bench: $(STAMP) ## measure speed, memory and accuracy, e.g. make bench ARGS="discovery.speed discovery.tiers"; all: ARGS=--all
	$(BIN)/causal-lib bench $(ARGS)

# They need not live with the versions of .venv; discovery.peers says what it skipped when they are not there.
peers: .peers/.installed ## install the packages that the library is measured against, apart, in .peers

.peers/.installed:
	$(PYTHON) -m venv .peers
	echo '*' > .peers/.gitignore
	.peers/bin/python -m pip install --quiet gcastle==1.0.4 dagma==1.1.1 gies==0.0.3 torch==2.13.0
	.peers/bin/python -m pip install --quiet --no-deps --target .peers/obp obp==0.4.1
	$(PYTHON) -m venv .peers/lenskit
	.peers/lenskit/bin/python -m pip install --quiet lenskit==2025.8.1 torch==2.13.0 torch-geometric==2.8.1
	touch $@

# A local version such as +cpu names one machine's build and is cut, so that pip finds the release everywhere.
# xgboost needs the CUDA library on Linux only, where pip brings it along; pinned, the lock would not install elsewhere.
lock: ## write the versions of .venv to requirements.lock
	$(BIN)/python -m pip freeze --exclude causal-lib --exclude-editable --exclude nvidia-nccl-cu12 | sed -E 's/\+[A-Za-z0-9.]+$$//' > requirements.lock.new
	mv requirements.lock.new requirements.lock

lint: $(STAMP) ## ruff over package, tests and notebooks
	$(BIN)/ruff check causal_lib tests notebooks
	$(BIN)/ruff format --check causal_lib tests notebooks

clean: ## remove .venv, runs and caches (fetched data stays)
	rm -rf .venv .peers reports/runs data/cache .pytest_cache .ruff_cache .hypothesis *.egg-info
