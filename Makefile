# What one does with this repository. Everything is plain cargo and two small scripts in .ci/.

.DEFAULT_GOAL := help
.PHONY: help setup demo test sim chaos fuzz check bench clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14

setup: ## Install the Debian packages that are missing (needs root if any is)
	@.ci/setup

demo: setup ## Three real machines and what fleet does on them (STORE=embedded: no etcd; KEEP=1: leave it up)
	cargo build --release --bins
	@STORE=$(STORE) KEEP=$(KEEP) target/release/demo

test: setup ## Run every test, those on real machines and real etcd included
	cargo test --workspace --no-fail-fast

sim: ## The cluster in one thread on virtual time, with faults from a seed: SEEDS=1000 runs from SEED=1 (LIVE=1 tells one run), and mistakes it must find
	SEED=$(or $(SEED),1) SEEDS=$(or $(SEEDS),1000) LIVE=$(or $(LIVE),0) PACE=$(or $(PACE),steady) \
	cargo test --profile sim -p sim -- --nocapture

chaos: setup ## Real faults on five machines and three etcd members for HOURS=1 (CHAOS_SEED=… repeats the choices)
	CHAOS_SECONDS=$$(( $(or $(HOURS),1) * 3600 )) cargo test --test chaos -- --nocapture

fuzz: setup ## Rubbish for every parser of outside data, each for SECONDS=60
	FUZZ_SECONDS=$(or $(SECONDS),60) cargo test --test fuzzing -- --nocapture

check: setup ## Say first what review would say: format, lints, house rules
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --quiet --test tidy

bench: setup ## Measure, on three real machines, beside a floor taken in the same run
	cargo bench --workspace --bench '*'

clean: ## Remove what was built: target/, kept and abandoned clusters, the machines' image
	@for end in /run/fleet-testbed/*/end.sh; do [ ! -e "$$end" ] || sh "$$end" --unless-owned; done
	cargo clean
	@ls -d /run/fleet-testbed/*/ >/dev/null 2>&1 || rm -rf /var/cache/fleet-testbed
