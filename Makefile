# Each target sets up all it needs, once: Python >= 3.11 and make are enough to begin with (and root, or what
# tests/tools/install-packages installs, for `make test`). A second run starts at once.

# The other Pythons that the suite runs on, besides that of .venv: `make test PYTHONS=3.13` for one of them.
PYTHONS ?= 3.11 3.12 3.13
# More for pytest: `make test-one PYTEST="-k spool -n 0"`.
PYTEST ?=

.PHONY: test test-one test-others check demo bench clean packages
.DEFAULT_GOAL := check

test: test-one test-others

test-one: .venv/ready packages
	.venv/bin/python -m pytest $(PYTEST)

# After test-one, so that two suites never share the machine; a Python that is not there is passed over.
test-others: .venv/ready packages | test-one
	@set -e; \
	main=$$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in $(PYTHONS); do \
		if [ "$$version" = "$$main" ] || ! tests/tools/find-python "$$version" >/dev/null 2>&1; then continue; fi; \
		$(MAKE) --no-print-directory ".venv-$$version/ready"; \
		echo "== the suite on Python $$version"; \
		".venv-$$version/bin/python" -m pytest $(PYTEST) $$(tests/tools/other-users ".venv-$$version/bin/python"); \
	done

check: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --strict
	.venv/bin/python -m pytest -q -n 0 tests/test_layers.py

demo: .venv/ready
	.venv/bin/smartrelay demo

bench: .venv/ready packages
	.venv/bin/python -m benchmarks

packages: .venv/ready
	.venv/bin/python tests/tools/install-packages

.venv/ready: pyproject.toml tests/tools/make-venv tests/tools/find-python
	tests/tools/make-venv .venv
	touch $@

.venv-%/ready: pyproject.toml tests/tools/make-venv tests/tools/find-python
	tests/tools/make-venv .venv-$* $*
	touch $@

clean:
	rm -rf .venv .venv-3.* .cache dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
