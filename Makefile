# Everything a newcomer needs is `make demo` and `make test`. The work is done by cargo, npm and the scripts in deploy/.
.PHONY: help demo test lint sqlx check-windows bench-flow attacks
.DEFAULT_GOAL := help
PROFILE ?= dev

help: ## lists the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: ## posts listings to two sites through a real Chrome; KEEP=1 leaves all running, STOP=1 ends that, VISIBLE=1 shows Chrome
	@deploy/bootstrap.sh
	@KEEP=$(KEEP) STOP=$(STOP) VISIBLE=$(VISIBLE) deploy/demo.sh

test: ## runs every check: formatting, lints, and all tests on SQLite, PostgreSQL and headless Chromium
	@deploy/test.sh

lint: ## the quick checks only: formatting and clippy
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings

sqlx: ## refreshes the checked queries' caches after a change of SQL or migrations
	@deploy/sqlx.sh

check-windows: ## type-checks agent and CLI for Windows
	@deploy/check-windows.sh

bench-flow: ## measures a posting through the whole system against a plain hand-written script; PROFILE=release for optimised builds
	@deploy/bootstrap.sh
	@cargo build --workspace --bins --benches --profile $(PROFILE)
	@cargo bench --workspace --bench flow --profile $(PROFILE)

attacks: ## credential stuffing, replayed codes and refresh tokens at full strength; PROFILE=release for optimised builds
	@cargo bench --workspace --bench attacks --profile $(PROFILE)
