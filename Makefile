# `make help` prints this menu. Everything runs from one virtual environment, made on first use.

PYTHON ?= python3
OUT ?= out
RAW ?=
RELEASE ?= $(OUT)/releases/sharegpt-1.2.0
ID ?=
REPO ?=
FLAGS ?=
N ?=
PART ?= sharegpt engine score training
PROTOCOL ?=
MODEL ?=
JUDGE ?=
SUITE ?= starter
RECIPE ?= tiny-cpu
TOKENIZER ?=
TEMPLATE ?=
BASELINE ?=
DATASET ?= $(OUT)/releases/sharegpt-1.2.0

PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Only a checkpoint on this machine needs torch; a model behind an endpoint does not.
MODEL_ENV := $(if $(wildcard $(addsuffix /config.json,$(MODEL) $(JUDGE))),.venv/train,.venv/base)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build-data sharegpt ultrachat openings tokens train chat suites answers judge leaderboard evaluate publish demo test check fuzz speed olah why clean

help: ## this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build-data: sharegpt ultrachat ## both corpora, from the bundled samples; RAW= your pages, MODEL= your model

sharegpt: .venv/base ## ShareGPT corpus; RAW=page, dump, archive, folder or hf:// address
	$(PY) -m datasets_scripts.sharegpt.build --out "$(OUT)/releases" $(if $(RAW),--raw "$(RAW)")

ultrachat: $(MODEL_ENV) ## UltraChat corpus; MODEL=name (its endpoint: OPENAI_BASE_URL), N=dialogues
	$(PY) -m datasets_scripts.ultrachat.build --out "$(OUT)/releases" $(if $(N),--n $(N)) $(if $(MODEL),--user-model "$(MODEL)" --assistant-model "$(MODEL)") $(FLAGS)

openings: $(MODEL_ENV) ## opening lines for UltraChat, made with a model; MODEL= N=
	$(PY) -m datasets_scripts.ultrachat.openings.make --out "$(OUT)/openings" $(if $(N),--n $(N)) $(if $(MODEL),--opening-model "$(MODEL)") $(FLAGS)

tokens: .venv/train ## what training sees, token by token; DATASET= TOKENIZER= TEMPLATE= FLAGS="--show 3"
	@$(PY) -m training.data --dataset "$(DATASET)" --tokenizer "$(TOKENIZER)" $(if $(TEMPLATE),--template "$(TEMPLATE)") $(FLAGS)

train: .venv/train ## fine-tune; RECIPE=name or file, DATASET=release, file or Hub id
	$(PY) -m training.sft --config "$(RECIPE)" --dataset "$(DATASET)" --out "$(OUT)/checkpoints/$$(basename "$(RECIPE)" .yaml)" $(FLAGS)

chat: .venv/train ## talk to a checkpoint in the terminal; MODEL=folder
	@$(PY) -m training.chat "$(MODEL)" $(FLAGS)

suites: .venv/base ## the question sets, and whether their files are here; FLAGS="--fetch all"
	@$(PY) -m benchmarks.suites $(FLAGS)

answers: $(MODEL_ENV) ## let a model answer a suite; MODEL=name or checkpoint, SUITE=name or file
	$(PY) -m benchmarks.answer --suite "$(SUITE)" --out "$(OUT)/results" $(if $(MODEL),--model "$(MODEL)")

judge: $(MODEL_ENV) ## judge a model's answers; MODEL= SUITE= JUDGE= PROTOCOL= BASELINE=file or model
	$(PY) -m benchmarks.judge --suite "$(SUITE)" --out "$(OUT)/results" $(if $(MODEL),--model "$(MODEL)") $(if $(JUDGE),--judge "$(JUDGE)") $(if $(BASELINE),--baseline "$(BASELINE)") $(if $(PROTOCOL),--protocol "$(PROTOCOL)")

leaderboard: .venv/base ## one table of all judgments; FLAGS=--reports for a page of each, or --verify
	$(PY) -m benchmarks.leaderboard "$(OUT)/results" --out "$(OUT)/results" $(FLAGS)

evaluate: ## answers, judge and leaderboard in one; MODEL= SUITE= JUDGE= (own questions: BASELINE=)
	@$(if $(and $(findstring .jsonl,$(SUITE)),$(if $(BASELINE),,none)),echo "error: own questions need answers to compare with: set BASELINE=answers.jsonl" >&2; exit 2)
	@$(MAKE) --no-print-directory answers
	@$(MAKE) --no-print-directory judge
	@$(MAKE) --no-print-directory leaderboard

demo: .venv/train ## all of it offline in about two minutes, ending in a table
	@$(MAKE) --no-print-directory build-data
	@$(MAKE) --no-print-directory train RECIPE=tiny-cpu
	@$(MAKE) --no-print-directory answers judge MODEL="$(OUT)/checkpoints/tiny-cpu" JUDGE=demo
	@$(MAKE) --no-print-directory answers judge MODEL=demo JUDGE=demo
	@$(MAKE) --no-print-directory leaderboard FLAGS=--reports
	@echo "made: $(OUT)/releases $(OUT)/checkpoints $(OUT)/results"

test: .venv/train .venv/dev ## all tests
	$(PY) -m pytest

check: .venv/train .venv/dev ## ruff and mypy --strict
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

olah: .venv-olah/installed ## a third-party Hub server for the tests, in an environment of its own

.venv-olah/installed:
	$(PYTHON) -m venv .venv-olah
	.venv-olah/bin/python -m pip install --quiet --disable-pip-version-check olah==0.5.4
	@touch $@

fuzz: .venv/train .venv/dev ## 100,000 hostile inputs of each kind: answers, files, turns
	$(PY) -m pytest --hypothesis-profile=fuzz tests/datasets_scripts/sharegpt/test_fuzz*.py

speed: $(if $(findstring training,$(PART)),.venv/train,.venv/base) ## CPU and memory beside named peers, which it installs apart; PART=sharegpt, engine, score or training
	$(foreach part,$(PART),$(PY) -m tests.speed.$(part) $(FLAGS) &&) true

publish: .venv/base ## a release on the Hub: one commit, one tag; RELEASE= REPO=org/name FLAGS=--dry-run
	$(PY) -m ultra.hub "$(RELEASE)" "$(REPO)" $(FLAGS)

why: .venv/base ## why a conversation is not in a release, or where it is; RELEASE= ID=
	@$(PY) -m ultra.release why "$(RELEASE)" -- "$(ID)"

clean: ## remove what the targets made, but not the virtual environment
	rm -rf "$(OUT)/releases" "$(OUT)/checkpoints" "$(OUT)/results"

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("python3 >= 3.11 is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/base: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing into .venv ..."
	$(PIP) --editable .
	@touch $@

# torch first and by itself, so that no other package chooses its build.
.venv/train: .venv/base
	@echo "installing torch and transformers into .venv ..."
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[train]'
	@touch $@

.venv/dev: .venv/base
	@echo "installing test tools into .venv ..."
	$(PIP) --editable '.[dev,serve]'
	@touch $@
