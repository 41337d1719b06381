// Package openapitest holds requests and answers against openapi.yaml. Tests alone import
// it: the validator behind it must never reach the binary.
//
// A [Checker] is built once per process and is safe for parallel tests.
package openapitest
