# Packaging: the Makefile includes this file. The tools are pinned in config/tools and
# config/validate, modules of their own, so that none of it reaches the product's go.mod.
export KO_CONFIG_PATH := ./ko.yaml
export VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

DIST ?= dist

ko = go tool -modfile=config/tools/image.mod ko
labels = --image-label org.opencontainers.image.title=ai-admin \
         --image-label org.opencontainers.image.version=$(VERSION) \
         --image-label org.opencontainers.image.licenses=Apache-2.0

.PHONY: image manifests packaging e2e

## image: push to KO_DOCKER_REPO, or without one write the OCI layout dist/image
image:
ifneq ($(KO_DOCKER_REPO),)
	$(ko) build --base-import-paths $(labels) --sbom-dir $(DIST)/sbom ./cmd/ai-admin
else
	KO_DOCKER_REPO=ai-admin.local $(ko) build --base-import-paths $(labels) --push=false --oci-layout-path $(DIST)/image --sbom-dir $(DIST)/sbom ./cmd/ai-admin
endif

## manifests: judge config/ by Knative's own code (first run: downloads and builds it)
test: manifests

manifests:
	@if cd config/validate && go mod download 2>/dev/null; then \
		go test -count=1 ./...; \
	else echo "SKIP manifests: the modules of knative.dev/serving and knative.dev/eventing cannot be had here"; fi

## e2e: apply everything to a real API server with Knative's webhooks (first run: 15 min of building)
e2e:
	@cd config/validate && AI_ADMIN_E2E=1 nice -n 15 go test -count=1 -timeout=90m -v -run=TestCluster
