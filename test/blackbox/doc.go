// Package blackbox tests what the docs promise and not the code: it builds the binary, mounts
// folders as Kubernetes would, serves a database of its own and speaks HTTP to it. It
// knows nothing of the service's packages, so that a rewrite of all of them leaves the
// tests as they are. Every answer is also held against openapi.yaml.
//
// Each top-level test has a process of its own; what it shares that with are its subtests,
// which use tags of their own and run in parallel.
package blackbox
