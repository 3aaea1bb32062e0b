# README's two commands are `make demo` and `make test`; each target makes .venv from the lock when it is missing.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo live test lint bench docs lock clean

demo: .venv/ready  ## train every stage of llama_omni/tiny, score it and hear one answer (6 minutes on 2 cores)
	$(BIN)/omnikit train llama_omni/tiny --jobs 2
	$(BIN)/omnikit eval llama_omni/tiny --latency-rows 5
	$(BIN)/omnikit chat llama_omni/tiny --example --out runs/answer.wav

RUN := $(if $(wildcard runs/vita_1_5/tiny/latest),vita_1_5/tiny,llama_omni/tiny)
live: .venv/ready  ## talk to the run of vita_1_5/tiny where it is trained, else to make demo's, in a browser
	$(BIN)/omnikit serve $(RUN)

test: .venv/ready lint  ## everything that must hold before a change lands
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile  # a thread each: two workers with two threads each wait for each other

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/mypy omnikit $(wildcard plugins/*/omnikit_*)

bench: .venv/ready  ## speed, as ratios inside one run: a table at the end, and runs/bench.json
	OMP_NUM_THREADS=1 $(BIN)/pytest benchmarks -m "not slow" -p no:xdist  # -m slow: the forecasts of the larger recipes

docs: .venv/ready  ## the pages of docs/ and the reference made from the code, into site/
	$(BIN)/python tools/design_tree.py
	$(BIN)/python tools/printed_outputs.py
	$(BIN)/python tools/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock:  ## exact versions with hashes and no URL, for every Python that pyproject.toml allows
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install -q uv
	.venv-lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
	  requirements.in -o requirements.lock
	rm -rf .venv-lock

.venv/ready: requirements.lock pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) tools/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e . $(foreach p,$(wildcard plugins/*/pyproject.toml),-e $(dir $(p)))
	touch $@

clean:
	rm -rf .venv build dist site *.egg-info plugins/*/*.egg-info plugins/*/build
