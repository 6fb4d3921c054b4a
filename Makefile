# The one place to start anything from. "make" alone prints what there is.

GO ?= go
FUZZTIME ?= 30s
ROUNDS ?= 100
export FUZZTIME

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this
	@echo 'make TARGET, where TARGET is one of'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## send a message with an attachment through a server of our own and show what arrived
	@scripts/demo.sh

.PHONY: build
build: ## build bin/postrider, static
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -o bin/postrider ./cmd/postrider

.PHONY: test
test: ## run every test, with the race detector; installs what is missing (Debian, root or sudo)
	@scripts/test-deps.sh
	@scripts/test.sh

.PHONY: test-short
test-short: ## run the tests that need nothing but Go
	@scripts/test.sh --short

.PHONY: lint
lint: bin/golangci-lint ## run the linters; the first time builds them, about 2 minutes
	@scripts/lint.sh

.PHONY: fmt
fmt: bin/golangci-lint ## format the source
	@bin/golangci-lint fmt ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME each (FUZZTIME=30s, FUZZ=pattern, FUZZPARALLEL=n)
	@scripts/fuzz.sh

.PHONY: bench
bench: ## measure us beside other clients, in one run
	@bench/run.sh

.PHONY: bench-service
bench-service: ## measure the service on SQLite and PostgreSQL, in one run
	@bench/service.sh

.PHONY: chaos
chaos: ## break the running service ROUNDS times, count what arrives, write the figures (ROUNDS=100)
	@scripts/test-deps.sh
	$(GO) test ./internal/chaos -count=1 -v -timeout 5h -run '^TestRounds$$' -args -rounds $(ROUNDS) -figures

.PHONY: chaos-cluster
chaos-cluster: ## break a cluster of three nodes ROUNDS times, count what arrives, write the figures (ROUNDS=100)
	@scripts/test-deps.sh
	$(GO) test ./internal/chaos -count=1 -v -timeout 5h -run '^TestCluster$$' -args -cluster $(ROUNDS) -worlds 4 -figures

.PHONY: tools
tools: bin/golangci-lint ## build the pinned tools (golangci-lint, benchstat) into bin/

# All tools are built together; one of them stands for all.
bin/golangci-lint: tools/go.mod tools/go.sum
	@echo 'building the tools of tools/go.mod into bin/'
	@CGO_ENABLED=0 $(GO) -C tools build -o ../bin/ tool
	@touch $@

.PHONY: clean
clean: ## remove what was built and unpacked
	rm -rf bin .cache
