# Everything a newcomer needs is `make demo` and `make test`. The work is done by cargo, npm and the scripts in deploy/.
.PHONY: help demo test lint sqlx check-windows bench-flow security fuzz bench-stampede
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

security: ## lets testssl.sh and sslyze look at both listeners of a controller that it starts; fails on any finding above "info"
	@deploy/security.sh

fuzz: ## the tests that give hostile input to every decoder, for longer: ROUNDS=1000000 inputs each
	@TRADEPOST_FUZZ_ROUNDS=$(or $(ROUNDS),1000000) cargo nextest run --workspace -E 'test(/fuzz::/)' --profile long

check-windows: ## type-checks agent and CLI for Windows
	@deploy/check-windows.sh

bench-stampede: ## restarts a controller under 1,000 agents that come back and renew; AGENTS=n JOBS=n; PROFILE=release for optimised builds
	@cargo build --workspace --bins --benches --profile $(PROFILE)
	@cargo bench --workspace --bench stampede --profile $(PROFILE)

bench-flow: ## measures a posting through the whole system against a plain hand-written script; PROFILE=release for optimised builds
	@deploy/bootstrap.sh
	@cargo build --workspace --bins --benches --profile $(PROFILE)
	@cargo bench --workspace --bench flow --profile $(PROFILE)
