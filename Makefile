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
withpostgres = CGO_ENABLED=0 go run -buildvcs=false ./test/pgtest/withpostgres

.PHONY: help run watch build test soak lint fuzz bench bench-large clean

## help: list the targets
help:
	@sed -n 's/^## \([a-z0-9-]*\): /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

## run: start the service with a PostgreSQL of its own in .dev/ (ARGS="--demo 1000 --port 8081")
run:
	@echo "Building ai-admin. The first time, Go downloads its modules and compiles them: about a minute." >&2
	@go run -buildvcs=false -ldflags "-X main.version=$(VERSION)" ./cmd/ai-admin dev $(ARGS)

## watch: run, and again whenever a source changes; with OVERLAY=local, build the image and apply that overlay instead
watch:
ifneq ($(OVERLAY),)
	@$(air) --build.cmd "kubectl kustomize config/overlays/$(OVERLAY) | $(ko) apply --base-import-paths --platform=linux/$$(go env GOARCH) -f -" --build.full_bin "sleep infinity"
else
	@$(air) --build.cmd "make --silent build" --build.full_bin "bin/ai-admin dev $(ARGS)"
endif

# It polls nothing: the folders of sources are watched, and what runs is interrupted before it starts again.
air = go tool -modfile=tools/watch/go.mod air --tmp_dir .cache/watch --build.include_dir "cmd,pkg,config" --build.include_ext "go,sql,html,css,js,txt,yaml" \
      --build.send_interrupt true --build.kill_delay 10s --build.delay 500

## build: build bin/ai-admin with its version in it
build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ai-admin ./cmd/ai-admin

## test: lint, then all tests under the race detector: packages, black box, faults, gateways, console in Chromium, packaging, manifests (ARGS="-run Name")
test: announced lint

.PHONY: announced
announced:
	@echo "Linting, then testing. PostgreSQL, a C compiler, nginx, HAProxy, Caddy, FastAPI, PgBouncer and Chromium are installed from Debian's" >&2
	@echo "packages where they are missing; modules and tools of Go and npm are downloaded and compiled, 10 minutes the first time." >&2
	@echo "What cannot be had is skipped with a line that says so." >&2

test:
	@$(withpostgres) -cc go test -race -shuffle=on -timeout=$(TIMEOUT) $(ARGS) ./...

## soak: kill the service, PostgreSQL and the sink at random under load, for SOAK (10m)
soak:
	@AI_ADMIN_SOAK=$(SOAK) $(withpostgres) go test -count=1 -v -run=TestFaults -timeout=24h ./test/faults

## lint: gofmt, go vet and staticcheck
lint:
	@unformatted=$$(gofmt -l *.go cmd pkg test bench); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is needed on:"; echo "$$unformatted"; exit 1; fi
	@go vet -buildvcs=false ./... && cd bench && go vet -buildvcs=false ./...
	@go tool -modfile=tools/lint/go.mod staticcheck ./...

## fuzz: run every fuzz target for FUZZTIME (30s) each
fuzz:
	@set -e; grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' pkg cmd test | sort | \
	while IFS=: read -r file declaration; do \
		target=$${declaration#func }; echo "== $$target ($$(dirname "$$file"))"; \
		go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "./$$(dirname "$$file")" </dev/null; \
	done

## bench: measure every operation beside the physical limit, see docs/performance.md (USERS=100000)
bench: build
	@cd bench && CGO_ENABLED=0 go run -buildvcs=false . $(ARGS)
ifeq ($(strip $(ARGS)),)
	@$(withpostgres) go test ./pkg/relay ./test/console -run '^$$' -bench 'Throughput|IdleLatency|List'
endif

## bench-large: the same with a million users
bench-large: build
	@cd bench && USERS=1000000 CGO_ENABLED=0 go run -buildvcs=false . $(ARGS)

## clean: remove what the targets built (the data of make run stays in .dev/)
clean:
	rm -rf bin dist .cache

# Packaging. Each tool is pinned in a module of its own under tools/, so that none of it reaches the
# product's go.mod.
export KO_CONFIG_PATH := ./ko.yaml
export VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

DIST ?= dist

ko = go tool -modfile=tools/image/go.mod ko
labels = --image-label org.opencontainers.image.title=ai-admin \
         --image-label org.opencontainers.image.version=$(VERSION) \
         --image-label org.opencontainers.image.licenses=Apache-2.0

.PHONY: image release manifests packaging e2e

## image: push to KO_DOCKER_REPO, or without one write the OCI layout dist/image
image:
ifneq ($(KO_DOCKER_REPO),)
	$(ko) build --base-import-paths $(labels) --sbom-dir $(DIST)/sbom ./cmd/ai-admin
else
	KO_DOCKER_REPO=ai-admin.local $(ko) build --base-import-paths $(labels) --push=false --oci-layout-path $(DIST)/image --sbom-dir $(DIST)/sbom ./cmd/ai-admin
endif

## release: archives for linux and darwin, an SBOM, the image and checksums in dist/release (VERSION=v1.2.0)
release:
	@cd tools/release && CGO_ENABLED=0 go build -buildvcs=false -o ../../bin/release .
	@bin/release -version "$(VERSION)" -out $(DIST)/release $(ARGS)
	@cat $(DIST)/release/SHA256SUMS

## manifests: judge config/ by Knative's and Envoy's own code (first run: downloads and builds it)
test: manifests

manifests:
	@set -e; for module in test/manifests test/envoy; do \
		if (cd $$module && go mod download 2>/dev/null); then (cd $$module && go test -count=1 ./...); \
		else echo "SKIP $$module: a module that its go.mod names cannot be had here"; fi; done

## e2e: apply everything to a real API server with Knative's webhooks (first run: 15 min of building)
e2e:
	@cd test/manifests && AI_ADMIN_E2E=1 nice -n 15 go test -count=1 -timeout=90m -v -run=TestCluster
