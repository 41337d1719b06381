// Package access decides whether a caller may use a model now. It is pure: a [Question] and what
// the database holds about it ([Found]) go in, a [Decision] comes out, and nothing is remembered.
//
// A check goes through these steps; the first refusal ends it:
//
//	key valid, or subject known     INVALID_KEY, UNKNOWN_SUBJECT
//	user active and not expired     SUSPENDED, EXPIRED
//	model allowed by user and key   MODEL_REQUIRED, MODEL_NOT_ALLOWED
//	no limit is 0                   LIMIT_ZERO
//	credential held, when asked for NO_CREDENTIAL
//
// The package also has the format of key secrets ([NewSecret], [ParseSecret]), the matching of
// model globs ([Match]), and the reader that finds the model in a request's body ([BodyModel]).
package access
