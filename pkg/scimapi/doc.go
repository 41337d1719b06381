// Package scimapi serves SCIM 2.0 (RFC 7643, 7644, 9865) over HTTP below /scim/v2: discovery, users, groups
// and searches. The rules are those of package scim; every change goes through the service's one write path.
//
// Two rules of the native API do not hold here, since identity providers break them: unknown query
// parameters and unknown members of bodies are ignored. Every answer, also an error, is application/scim+json.
//
// A PUT or PATCH of a user is read, applied and written on condition of the version read; after a lost race it
// is tried again, unless the client named a version itself. A change of a group reads no member that it does
// not name. An API has no state of its own; its methods may be called concurrently.
package scimapi
