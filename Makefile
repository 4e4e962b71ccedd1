# SPDX-License-Identifier: Apache-2.0
# Every command that CI runs, under the same name. `make help` lists them.

# Sandboxes run in a network of their own, without the registries: cargo and go are run before, outside.
CARGO        ?= cargo
SANDBOX      := dev/sandbox.sh
# Tests that run at the same time. Each integration test may have a control plane of its own, which wants a
# core and 400 MB.
TEST_THREADS ?= 3
# A run that takes longer is stopped, with everything in it.
TEST_TIMEOUT ?= 60m
# Only tests whose name contains this: make test T=lease
T            ?=
# make soak: rounds; T restricts it, too
N            ?= 3
# make properties: times the usual number of cases
FACTOR       ?= 20
# make mutants
BASE         ?= main
SHARD        ?= 0
MINUTES      ?= 60
# make faults
FAULTS       ?= 200
SEED         ?=
PLANES       ?= 1
LEASE        ?= 15
# make races
RACES        ?= 10000
# make bench: another manager's binary, and which measurements (all: none named)
MANAGER      ?=
ONLY         ?=

.DEFAULT_GOAL := help
.PHONY: help tools cluster demo test soak soak-reset properties coverage mutants mutants-reset check bench faults \
	nightly races timeline fmt build-tests

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: ## build the programs of the development control plane, once, into a cache outside the checkout
	@dev/tools.sh

cluster: tools ## a control plane with the manager's CRDs and roles, and a shell with kubectl in it
	$(CARGO) build --locked --bins --example cluster
	@$(SANDBOX) $(CARGO) run --offline --quiet --example cluster -- $(CMD)

demo: tools ## three managers, fake engines, an autoscaler at work, a LoRA and a Lease that move
	$(CARGO) build --locked --bins --examples
	@$(SANDBOX) $(CARGO) run --offline --quiet --example demo

build-tests: tools
	$(CARGO) build --locked --workspace --tests

test: build-tests ## all tests, on a real control plane: unit, architecture, contracts, integration
	@TEST_TIMEOUT=$(TEST_TIMEOUT) RUST_TEST_THREADS=$(TEST_THREADS) dev/test.sh $(T)

soak: build-tests ## property tests with a new seed; integration tests again and again, in random order, half beside a busy loop: N=3 T=election
	@code=0; test -n "$(T)" || CARGO=$(CARGO) FACTOR=$(FACTOR) dev/properties.sh || code=$$?; \
	RUST_TEST_THREADS=$(TEST_THREADS) $(SANDBOX) dev/soak.py $(N) $(T) || code=$$?; exit $$code

properties: build-tests ## property tests with a new seed and many more cases: FACTOR=20 PROPTEST_RNG_SEED=n
	@CARGO=$(CARGO) FACTOR=$(FACTOR) dev/properties.sh

soak-reset: ## forget what soak has run; its log stays
	rm -rf target/soak/state

coverage: tools ## how much of each file the tests run that need no control plane
	@dev/coverage.py

mutants: ## change the election and the planners in small ways: does a unit test fail? BASE=main SHARD=0 MINUTES=60
	@BASE=$(BASE) SHARD=$(SHARD) MINUTES=$(MINUTES) dev/mutants.sh

mutants-reset: ## forget which of these were tried
	rm -rf target/mutants

check: ## static checks: format, lints, documentation, dependencies, scripts
	@CARGO=$(CARGO) dev/check.sh

fmt: ## format the sources
	$(CARGO) fmt --all

bench: tools ## figures on memory, requests and hand-over; MANAGER=path measures another manager, ONLY=name one thing
	$(CARGO) build --locked --release --bins
	$(CARGO) build --locked --bins --example bench
	MANAGER=$(MANAGER) $(SANDBOX) $(CARGO) run --offline --quiet --example bench -- $(ONLY)

faults: tools ## kill, freeze, cut and slow managers at random: FAULTS=200 SEED=n PLANES=4 LEASE=5
	$(CARGO) build --locked --release --test faults
	FAULTS=$(FAULTS) SEED=$(SEED) PLANES=$(PLANES) LEASE=$(LEASE) \
		$(SANDBOX) $(CARGO) test --offline --release --test faults -- --ignored --nocapture

nightly: ## what takes too long for each change, before a release: property tests with FACTOR=50, 1,000 faults
	@$(MAKE) properties FACTOR=50
	@$(MAKE) faults FAULTS=1000 PLANES=4

races: tools ## processes that race for expired Leases, with and without the guard: RACES=10000
	$(CARGO) build --locked --example races
	$(SANDBOX) $(CARGO) run --offline --quiet --example races -- $(RACES)

timeline: tools ## draw docs/hand-over.svg anew: who led when, while leaders are terminated, killed and frozen
	$(CARGO) build --locked --bins --example timeline
	$(SANDBOX) $(CARGO) run --offline --quiet --example timeline -- docs/hand-over.svg
