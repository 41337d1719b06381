// Package packaging_test runs what is shipped the way a cluster does: the image that ko
// builds, behind Knative's own sidecar, in a container, under func's own server. Each test
// that needs a tool which cannot be had here says so and skips.
package packaging_test
