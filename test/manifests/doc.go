// Package validate holds what kustomize prints for each overlay against the code with
// which Knative's own webhooks judge it, without a cluster: decoded strictly, defaulted,
// validated. It is a module of its own so that Knative's dependencies stay out of the
// product's go.mod, and it never reaches a binary.
package validate
