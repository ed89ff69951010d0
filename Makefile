# The two commands to begin with: `make demo` and `make test`. Both install what they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CACHE := $(or $(TIDEWATER_CACHE),$(HOME)/.cache/tidewater)
export CARGO_TARGET_DIR ?= $(CACHE)/target

# Checks the tools and sets LIBCLANG_PATH, ROCKSDB_LIB_DIR and so on; installs libclang and builds RocksDB the first time.
ENV := variables=$$(scripts/environment.sh); eval "$$variables"

# The Python tests' own environments: theirs, and the one of a DuckDB with its delta extension.
PYTEST = python=$$(clients/conformance/venv.sh); export TIDEWATER_DUCKDB_PYTHON=$$(clients/conformance/venv.sh duckdb) TIDEWATER_DBAPI_PYTHON=$$(clients/conformance/venv.sh dbapi) TIDEWATER_BIN="$(CARGO_TARGET_DIR)/debug/tidewater"; \
  "$$python" -m pytest -q clients/python/tests; "$$python" -m pytest -q $(or $(TESTS),clients/conformance)

.PHONY: help demo test conformance check build rust-tests python-tests bench package

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

# DEMO_SECONDS=n ends it by itself, DEMO_ROWS=fat sends names of 5,000 bytes.
demo: ## Run a server and a live stream for it until Ctrl-C, then check that all of it is there
	@test -x "$(CARGO_TARGET_DIR)/release/tidewater" || \
	  echo "The first build takes 20 to 40 minutes on two cores, once; it is kept in $(CARGO_TARGET_DIR)." >&2
	@$(ENV); cargo build --locked --release --workspace --bin tidewater
	@"$(CARGO_TARGET_DIR)/release/tidewater" demo

# The Python half is installed first: what it misses is told at once, not when the Rust tests are through.
test: ## Everything that decides whether a change is sound: Rust tests, then the clients from outside
	@clients/conformance/venv.sh >/dev/null
	@clients/conformance/venv.sh duckdb >/dev/null
	@clients/conformance/venv.sh dbapi >/dev/null
	@$(MAKE) --no-print-directory rust-tests
	@$(MAKE) --no-print-directory python-tests

rust-tests:
	@$(ENV); cargo test --locked --workspace

python-tests: build
	@$(PYTEST) -m "not spark and not slow and not superset"

# Spark and its JVM are 550 MB, a browser is 350, so only here. TESTS="FILE…" runs those alone. ADBC_VALIDATION=DIR is a local copy of adbc-drivers/validation.
conformance: build ## All tests from outside, Spark as a reader of the Delta tables too; writes clients/conformance/RESULTS.md
	@export TIDEWATER_RESULTS="$(CURDIR)/clients/conformance/RESULTS.md"; \
	  spark=$$(clients/conformance/spark.sh) || echo "Spark is NOT CHECKED" >&2; export TIDEWATER_SPARK_PYTHON=$$spark; \
	  go=$$(clients/conformance/go.sh) || echo "Go is NOT CHECKED" >&2; export TIDEWATER_GO_PROGRAMS=$$go; \
	  node=$$(clients/conformance/node.sh) || echo "Node is NOT CHECKED" >&2; export TIDEWATER_NODE_PACKAGES=$$node; \
	  jdbc=$$(clients/conformance/jdbc.sh) || echo "The JDBC driver is NOT CHECKED" >&2; export TIDEWATER_JDBC=$$jdbc; \
	  superset=$$(clients/conformance/venv.sh superset) || echo "Superset is NOT CHECKED" >&2; export TIDEWATER_SUPERSET_PYTHON=$$superset; \
	  if [ -n "$(ADBC_VALIDATION)" ]; then \
	    validation=$$(clients/conformance/adbc_validation.sh "$(abspath $(ADBC_VALIDATION))") || echo "The ADBC validation suite is NOT CHECKED" >&2; \
	    export TIDEWATER_ADBC_VALIDATION="$(abspath $(ADBC_VALIDATION))" TIDEWATER_ADBC_VALIDATION_PYTHON=$$validation; \
	  fi; \
	  browser=$$(clients/conformance/browser.sh); export TIDEWATER_BROWSER=$$browser; $(PYTEST)

# As the Rust tests build it: `cargo build` resolves other features and would compile the dependencies a second time.
build:
	@$(ENV); cargo test --locked --workspace --no-run

check: ## Format, lints, unit tests: before each commit
	cargo fmt --all --check
	@$(ENV); cargo clippy --locked --workspace --all-targets -- -D warnings
	@$(ENV); cargo test --locked --workspace --lib --bins

bench: ## Keys and load, in release; figures beside the same run's yardsticks
	@$(ENV); cargo build --locked --release --workspace
	@"$(CARGO_TARGET_DIR)/release/keys"
	@python=$$(clients/conformance/venv.sh); "$(CARGO_TARGET_DIR)/release/load" --python "$$python"

package: ## A wheel, a .deb and what a container is built from; both are installed and tried
	@$(ENV); cargo build --locked --release --workspace --bin tidewater
	@"$${PYTHON:-python3}" -B scripts/package/build.py "$(CARGO_TARGET_DIR)/release/tidewater" "$(CARGO_TARGET_DIR)/package"
	@scripts/package/test.sh "$(CARGO_TARGET_DIR)/package"
