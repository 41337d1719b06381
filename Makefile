# Every target works on a machine with nothing but Go and make: what else is needed (a
# PostgreSQL server, a C compiler for the race detector) is found, or installed on Debian.
.DEFAULT_GOAL := help

# A clean environment (env -i, some CI runners) has no HOME, and Go keeps its caches there.
ifeq ($(strip $(HOME)),)
HOME := $(shell eval echo "~$$(id -un)")
endif
ifneq ($(shell test -d "$(HOME)" -a -w "$(HOME)" && echo yes),yes)
HOME := $(CURDIR)/.cache/home
endif
export HOME
export PATH := $(PATH):/usr/local/go/bin

FUZZTIME ?= 30s
SOAK ?= 10m
TIMEOUT ?= 10m
withpostgres = CGO_ENABLED=0 go run -buildvcs=false ./pkg/pgtest/withpostgres

.PHONY: help run build test lint fuzz bench bench-large clean

## help: list the targets
help:
	@sed -n 's/^## \([a-z0-9-]*\): /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

## run: start the service with a PostgreSQL of its own in .dev/ (ARGS="--demo 1000 --port 8081")
run:
	@go run -buildvcs=false ./cmd/ai-admin dev $(ARGS)

## build: build bin/ai-admin with its version in it
build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ai-admin ./cmd/ai-admin

## test: lint, then all tests under the race detector on one throw-away PostgreSQL (ARGS="-run Name")
test: lint
	@$(withpostgres) -cc go test -race -shuffle=on -timeout=$(TIMEOUT) $(ARGS) ./...

## soak: kill the service, PostgreSQL and the sink at random under load, for SOAK (10m)
soak:
	@AI_ADMIN_SOAK=$(SOAK) $(withpostgres) go test -count=1 -v -run=TestFaults -timeout=24h ./pkg/faults

## lint: gofmt, go vet and staticcheck
lint:
	@unformatted=$$(gofmt -l *.go cmd pkg config); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is needed on:"; echo "$$unformatted"; exit 1; fi
	@go vet -buildvcs=false ./...
	@go tool -modfile=tools/go.mod staticcheck ./...

## fuzz: run every fuzz target for FUZZTIME (30s) each
fuzz:
	@set -e; grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' pkg cmd config | sort | \
	while IFS=: read -r file declaration; do \
		target=$${declaration#func }; echo "== $$target ($$(dirname "$$file"))"; \
		go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "./$$(dirname "$$file")" </dev/null; \
	done

## bench: measure every operation beside the physical limit, see docs/performance.md (USERS=100000)
bench:
	@CGO_ENABLED=0 go run -buildvcs=false ./pkg/bench $(ARGS)

## bench-large: the same with a million users
bench-large:
	@USERS=1000000 CGO_ENABLED=0 go run -buildvcs=false ./pkg/bench $(ARGS)

## clean: remove what the targets built (the data of make run stays in .dev/)
clean:
	rm -rf bin dist .cache

include config/packaging.mk
