# The project's tasks. Plain `make` lists them; each sets up .venv first, where that is needed.
# For GNU make 3.81 or later. PYTHON names another Python; ARGS are handed on:
#     make run ARGS="--steps 00..02"

VENV_PYTHON = .venv/bin/python
STAMP = .venv/ready-for
# The files of tests, by one process a core; one after the other with ARGS="-n 0".
PYTEST = $(VENV_PYTHON) -m pytest -n logical --maxprocesses 4 --dist loadfile

# The stamp holds the folder's path: after a move the project is installed again.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

# What makes the site lies apart from .venv: `make run` does not wait for it, and it needs another
# docutils than the aws command, which the tests drive.
DOCS_PACKAGES = build/docs-packages
DOCS_STAMP = $(DOCS_PACKAGES)/ready-for
SPHINX = PYTHONPATH="$(CURDIR)/$(DOCS_PACKAGES)" $(VENV_PYTHON) -m sphinx --quiet --fail-on-warning \
    --keep-going --fresh-env --doctree-dir build/doctrees docs

# What drives a browser lies apart, too: only `make test-browser` needs it.
BROWSER_PACKAGES = build/browser-packages
BROWSER_STAMP = $(BROWSER_PACKAGES)/ready-for

.PHONY: help run test test-full test-docs test-browser docs notebooks lab lint bench requirements clean

help:  ## list the tasks
	@sed -n 's/^\([a-z-]*\):[^#]*## /    make \1 | /p' Makefile | awk -F '|' '{printf "%-22s%s\n", $$1, $$2}'

run: $(STAMP)  ## run the whole runbook on the embedded sandbox
	@.venv/bin/runbook run $(ARGS)

test: $(STAMP)  ## all tests: the fast ones, then servers and kernels, then the notebooks
	@$(PYTEST) $(ARGS)

test-full: $(STAMP)  ## the same, with every kill point and every fault, not a sample (half an hour)
	@ALL_KILL_POINTS=1 ALL_FAULTS=1 $(PYTEST) $(ARGS)

docs: $(DOCS_STAMP)  ## make the site: build/site/index.html
	@rm -rf build/site
	@$(SPHINX) build/site
	@$(VENV_PYTHON) docs/check.py build/site

test-docs: docs  ## the same, twice: links, nothing from the network, both builds alike
	@rm -rf build/site-again
	@PYTHONHASHSEED=1 $(SPHINX) build/site-again
	@$(VENV_PYTHON) docs/check.py build/site build/site-again

test-browser: $(BROWSER_STAMP) docs  ## the notebooks, the report and the site, in a real browser
	@PYTHONPATH="$(CURDIR)/$(BROWSER_PACKAGES)" $(VENV_PYTHON) -m pytest tests/browser \
	    -n 2 --dist loadgroup $(ARGS)

notebooks: $(STAMP)  ## make the notebooks' committed outputs again
	@$(VENV_PYTHON) -m keyrunbook.execution.reference $(ARGS)

lab: $(STAMP)  ## open the notebooks in JupyterLab, beside a sandbox
	@.venv/bin/runbook lab $(ARGS)

lint: $(STAMP)  ## ruff, mypy and the layers of lib/
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check
	@$(VENV_PYTHON) -m mypy
	@.venv/bin/lint-imports

bench: $(STAMP)  ## measure what the README claims of speed
	@$(VENV_PYTHON) benchmarks/run.py $(ARGS)
	@$(VENV_PYTHON) benchmarks/describe_key.py
	@$(VENV_PYTHON) benchmarks/decide.py
	@$(VENV_PYTHON) benchmarks/scan.py

requirements: $(STAMP)  ## pin every dependency of pyproject.toml again
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check 'uv>=0.13'
	@echo '-e .' | $(VENV_PYTHON) -m uv pip compile - --group test --universal \
	    --python-version 3.11 --custom-compile-command 'make requirements' \
	    --quiet --output-file requirements.txt $(ARGS)
	@mkdir -p build && sed '/^docutils==/d; /^-e/d' requirements.txt > build/constraints.txt
	@: | $(VENV_PYTHON) -m uv pip compile - --group docs --universal --python-version 3.11 \
	    --constraint build/constraints.txt --no-annotate --quiet \
	    --no-header > build/docs-requirements.txt
	@{ echo '# What the site needs beside requirements.txt. Made by: make requirements'; \
	    grep -vxFf requirements.txt build/docs-requirements.txt; } > docs/requirements.txt
	@: | $(VENV_PYTHON) -m uv pip compile - --group browser --universal --python-version 3.11 \
	    --constraint build/constraints.txt --no-annotate --quiet \
	    --no-header > build/browser-requirements.txt
	@{ echo '# What drives a browser, beside requirements.txt. Made by: make requirements'; \
	    grep -vxFf requirements.txt build/browser-requirements.txt; } \
	    > tests/browser/requirements.txt

clean:  ## remove .venv and what the tools leave behind; runs in outputs/ stay
	@rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@rm -rf lib/*.egg-info
	@find lib tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(DOCS_STAMP): docs/requirements.txt $(STAMP)
	@echo "Setting up what makes the site, in $(DOCS_PACKAGES)"
	@rm -rf $(DOCS_PACKAGES)
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps \
	    --target $(DOCS_PACKAGES) -r docs/requirements.txt
	@touch $@

$(BROWSER_STAMP): tests/browser/requirements.txt $(STAMP)
	@echo "Setting up what drives a browser, in $(BROWSER_PACKAGES)"
	@rm -rf $(BROWSER_PACKAGES)
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps \
	    --target $(BROWSER_PACKAGES) -r tests/browser/requirements.txt
	@touch $@

# The newest Python there is, unless PYTHON names one.
$(STAMP): requirements.txt pyproject.toml
	@if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; \
	else set -- python3.14 python3.13 python3.12 python3.11 python3; fi; \
	for python in "$$@" ''; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Python 3.11 or later is needed, and none of these is: $$*. Install it" \
	        "(python.org, or your system's package manager) and run make again, or name it:" \
	        "make PYTHON=/path/to/python3 ..." >&2; exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python has no venv module: install it (on Debian and Ubuntu the package" \
	        "python3-venv, or that of the version, such as python3.12-venv)" \
	        "and run make again." >&2; exit 1; fi; \
	echo "Setting up .venv with $$python (about a minute, the first time)"; \
	"$$python" -m venv .venv && \
	$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt && \
	printf '%s\n' "$(CURDIR)" > $(STAMP)
