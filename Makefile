# Everything a newcomer needs is `make demo` and `make test`. The work is done by cargo, npm and the scripts in deploy/.
.PHONY: help demo test lint sim model sqlx check-windows bench-flow bench-queue bench-scale bench-stampede bench-audit chaos orphans attacks security fuzz
.DEFAULT_GOAL := help
PROFILE ?= dev
SEEDS ?= 1000
FAULTS ?= 1
LIMIT ?= 30000000

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

sim: ## simulates fleets from seeds with everything going wrong; SEEDS=10000 for many, SEED=7 for one with its trace in target/simulation
	@cargo run --quiet --package tradepost-simulation --profile sim --bin simulate -- $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

model: ## explores the publication protocol with more faults than the tests; FAULTS=1 more in each configuration, LIMIT=30000000 states
	@cargo run --quiet --release --package tradepost-model -- $(FAULTS) $(LIMIT)

sqlx: ## refreshes the checked queries' caches after a change of SQL or migrations
	@deploy/sqlx.sh

security: ## lets testssl.sh and sslyze look at both listeners of a controller that it starts; fails on any finding above "info"
	@deploy/security.sh

fuzz: ## the tests that give hostile input to every decoder, for longer: ROUNDS=1000000 inputs each
	@TRADEPOST_FUZZ_ROUNDS=$(or $(ROUNDS),1000000) cargo nextest run --workspace -E 'test(/fuzz::/)' --profile long

check-windows: ## type-checks agent and CLI for Windows
	@deploy/check-windows.sh

bench-stampede: ## restarts a controller under 1,000 agents that come back and renew, on both databases; AGENTS=n JOBS=n; PROFILE=release for optimised builds
	@cargo build --workspace --bins --benches --profile $(PROFILE)
	@echo "== SQLite, synchronous=FULL" && cargo bench --workspace --bench stampede --profile $(PROFILE)
	@echo "== PostgreSQL, fsync on" && DATABASE=postgres cargo bench --workspace --bench stampede --profile $(PROFILE)

bench-flow: ## measures a posting through the whole system against a plain hand-written script; PROFILE=release for optimised builds
	@deploy/bootstrap.sh
	@cargo build --workspace --bins --benches --profile $(PROFILE)
	@cargo bench --workspace --bench flow --profile $(PROFILE)

bench-queue: ## measures the engine on both databases, beside other queues where their benchmarks are at hand, and a killed PostgreSQL
	@deploy/bench-queue.sh all

bench-scale: ## measures what a job costs in databases that hold a thousand to a million jobs
	@deploy/bench-queue.sh scale

chaos: ## kills, stops and cuts off real processes at exact points of a posting; ROUNDS=120 (or all), SEED=N, MATCH="kill agent at WillClick"; one again: SEED=N ONLY=CASE
	@deploy/bootstrap.sh
	@cargo build --workspace --bins --benches --profile $(PROFILE)
	@cargo bench --workspace --bench chaos --profile $(PROFILE) -- --rounds "$(ROUNDS)" --seed "$(SEED)" --only "$(ONLY)" --match "$(MATCH)"

orphans: ## kills a working agent again and again and looks for what is left of Chrome; LOOPS=200, SEED=N
	@deploy/bootstrap.sh
	@cargo build --workspace --bins --benches --profile $(PROFILE)
	@cargo bench --workspace --bench orphans --profile $(PROFILE) -- --loops "$(LOOPS)" --seed "$(SEED)"

bench-audit: ## measures how fast the audit log is verified, in memory, from both databases, and over gRPC; PROFILE=measured for figures
	@cargo bench --workspace --bench audit --profile $(PROFILE)

attacks: ## credential stuffing, replayed codes and refresh tokens at full strength; PROFILE=release for optimised builds
	@cargo bench --workspace --bench attacks --profile $(PROFILE)
