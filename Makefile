# What people run here; `make` alone lists it. Works with GNU make 3.81 and a POSIX shell.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/sh
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Hashes come from the lock, so whatever mirror the user's pip is set to may serve; only errors are worth showing.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
# $(call LOCKED,FILE) installs what a lock names, and says on a terminal how far it is.
LOCKED = { $(BIN)/python -m pip --disable-pip-version-check install --require-hashes --requirement $(1) 2>$(VENV)/pip.err && echo Done; } | { \
	  of="$$(grep -c '^[a-z].*==' $(1))"; n=0; told=; word=; \
	  while read -r word rest; do \
	    case "$$word" in \
	      Collecting | Processing) n=$$((n + 1)) rest="$${rest%% *}"; told="$$n of $$of: $${rest\#\#*/}" ;; \
	      Installing) told="$$n packages are being unpacked …" ;; \
	      Done) told=; break ;; \
	    esac; \
	    ! test -t 2 || printf '\r\033[K%s' "$$told" >&2; \
	  done; \
	  ! test -t 2 || printf '\r\033[K' >&2; \
	  test "$$word" = Done || { cat $(VENV)/pip.err >&2; exit 1; }; }
LOCK := $(VENV)/release/bin/uv pip compile --python-version 3.11 --universal --generate-hashes --no-header --quiet

# The first Python of 3.11 or newer that can make a virtual environment; `make PYTHON=/path/to/python3 …` overrides.
# Debian's python3 comes without ensurepip until python3-venv is installed.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python3.14,\
  $(shell $(name) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(name))))

# Compiled once, and not by each of the processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest

.PHONY: help install demo test test-all faults lint docs bench screens image-check sbom lock clean
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s  %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.runtime ## the service, into .venv/bin/champion-gate

demo: $(VENV)/.runtime ## the whole flow on this machine, against stand-ins; ARGS=--yes approves by itself
	@$(BIN)/champion-gate demo $(ARGS)

# More workers than processors: many tests wait. By file, so that what the tests of a file share is made once.
test: $(VENV)/.tools ## the tests, in minutes; ARGS="-k name" or ARGS=tests/unit narrows it
	@$(PYTEST) --part quick --workers 5 $(ARGS)

test-all: $(VENV)/.notebooks $(VENV)/.deploy test ## and what takes longer: kill -9, races, released CI jobs, further vendors, more examples
	@$(PYTEST) --part rest --workers 6

faults: $(VENV)/.tools $(VENV)/.deploy $(VENV)/.schemas ## kill -9 many times over, silent vendors and databases, and each variant that test-all leaves out; ARGS=--mutants: see tests/README.md
	@case ' $(ARGS) ' in \
	  *' --mutants '*) PYTHONPATH=tests $(BIN)/python -m faults.mutants ;; \
	  *' tests/'*) $(PYTEST) -n 4 --dist worksteal $(ARGS) ;; \
	  *) $(PYTEST) tests/faults -n 4 --dist worksteal $(ARGS); faults=$$?; \
	    $(PYTEST) --part full --ignore tests/faults --workers 4 $(ARGS) && exit $$faults ;; \
	esac

lint: $(VENV)/.tests ## ruff, mypy and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/.tests ## renew the tables in service/docs that are made from the code
	@$(BIN)/python tests/docs_tables.py

bench: $(VENV)/.tests ## speed, load, memory and growth, beside their goals; ARGS=acks narrows it
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

screens: $(VENV)/.tools ## pictures of every page of the dashboard, into .screens/
	@PYTHONPATH=tests $(BIN)/python tests/screens.py

image-check: $(VENV)/.tests ## build the image and run it read-only, without capabilities (root, buildah, debootstrap)
	@PYTHONPATH=tests $(BIN)/python tests/image_check.py

sbom: $(VENV)/.release ## write sbom.cdx.json, what the service is made of (CycloneDX)
	@PYTHONPATH=$(VENV)/release $(BIN)/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml \
	  --mc-type application --output-reproducible --output-file sbom.cdx.json requirements.lock

lock: $(VENV)/.release ## renew the lock files after a change of pyproject.toml; ARGS=--upgrade takes newer versions
	@$(LOCK) $(ARGS) --group build --output-file requirements.lock pyproject.toml
	@$(LOCK) $(ARGS) --group tests --constraints requirements.lock --output-file tests/requirements.lock pyproject.toml
	@$(LOCK) $(ARGS) --group notebooks --constraints tests/requirements.lock --output-file tests/notebooks.lock
	@$(LOCK) $(ARGS) --group deploy --constraints tests/requirements.lock --output-file tests/deploy.lock
	@$(LOCK) $(ARGS) --group schemas --constraints tests/requirements.lock --output-file tests/schemas.lock
	@$(LOCK) $(ARGS) --group release --output-file tests/release.lock

clean: ## remove what the other targets made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A virtual environment whose Python is gone, or that was left half made, is made anew.
ifneq ($(shell $(BIN)/python -c 'import pip, sys; print("usable" * (sys.version_info >= (3, 11)))' 2>/dev/null),usable)
$(VENV)/pyvenv.cfg: remake
.PHONY: remake
remake:
endif

$(VENV)/pyvenv.cfg:
	@if test -z '$(PYTHON)'; then \
	  if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo 'python3 here cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv' >&2; \
	  else \
	    echo "Python 3.11 or newer is needed; python3 here is $$(python3 --version 2>/dev/null || echo missing)." >&2; \
	    echo 'Install one, or name it: make PYTHON=/path/to/python3.12 …' >&2; \
	  fi; \
	  exit 1; \
	fi
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@echo 'Installing what the service needs into $(VENV) (once, about half a minute) …' >&2
	@$(call LOCKED,requirements.lock)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.tests: requirements.lock tests/requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@echo 'Installing the service and its test tools into $(VENV) (once, about a minute) …' >&2
	@$(call LOCKED,tests/requirements.lock)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.runtime $@

# Beside the test tools, and not among them: pyproject.toml says why.
$(VENV)/.notebooks: tests/notebooks.lock | $(VENV)/.tests
	@$(PIP) install --require-hashes --no-deps --upgrade --target $(VENV)/notebooks --requirement $<
	@touch $@

# Tools of one purpose each, beside the others for the same reason.
$(VENV)/.deploy $(VENV)/.schemas $(VENV)/.release: $(VENV)/.%: tests/%.lock | $(VENV)/pyvenv.cfg
	@$(PIP) install --require-hashes --no-deps --upgrade --target $(VENV)/$* --requirement $<
	@touch $@

# What PyPI does not have. Without it the tests that need it are skipped, and say so at the end; in CI they fail.
$(VENV)/.tools: tests/install_tools.sh | $(VENV)/.tests
	@sh tests/install_tools.sh $(BIN) && touch $@ || echo 'Some tests will be skipped: see above.' >&2
