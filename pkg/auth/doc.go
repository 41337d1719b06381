// Package auth tells who is calling and what they may do: bearer tokens known by their
// hash (auth/tokens.json) and OpenID Connect ID tokens of configured issuers, which is
// also how Knative Eventing's own senders are recognized.
//
// # Judging a request
//
// [Authenticator.Authenticate] is safe for any number of goroutines. It hashes the
// presented token and compares it with every known hash in constant time; a token found
// there never reaches the OIDC half. Otherwise a JWT whose unverified `iss` is exactly a
// configured issuer is judged by that issuer; any other token is refused without a network
// call. The form and the claims are checked first (RFC 7515, 7519, 8725), then the
// signature. A verified token that no grant matches is a caller without scopes: known, and
// allowed nothing.
//
// # State, and who changes it
//
//   - The list of tokens is an immutable snapshot behind one atomic pointer, swapped by
//     [Authenticator.SetTokens]. Nothing caches its answers, so the next request with a removed or
//     expired token is refused.
//   - The issuers, their keys and the cache of verified JWTs are one snapshot too,
//     swapped by [Authenticator.SetIssuers]: a cached answer cannot outlive the issuers
//     that it was given under. A cached answer lives 60 s, and never past the token's exp.
//   - An issuer's keys are one atomic pointer, replaced only by the goroutine that holds the
//     issuer's fetch lock. A goroutine that waited for the lock tries the keys it finds then. If
//     they don't verify its token, only keys whose fetch began after it arrived decide. So many
//     concurrent requests make one or two fetches, and no token of a new key is refused by keys
//     that are older than the token.
//
// The package starts no goroutine and keeps no connection open.
//
// # When an issuer fails
//
//   - Nothing is fetched at start: the first token that needs them fetches discovery and keys, so
//     an issuer that is down does not delay the service.
//   - A failed fetch is tried again after a growing, jittered wait (0.2 s to 15 s); until then a
//     token that no cached key verifies fails with [ErrUnavailable] at once. Tokens that one
//     verifies are still accepted.
//   - Keys older than 10 minutes are fetched again by one request while the others use
//     the old ones, so that a key that the issuer withdrew is dropped.
//   - A signature that no cached key verifies causes a fetch at once: the key may be new, or
//     another under the same key id. Five fetches may follow in a row, then one every two seconds.
//     So forged tokens cannot be used to flood the issuer, and they are judged by keys at most two
//     seconds old.
//   - A fetch ends after 5 s and a body after 1 MiB, and belongs to no request: a client
//     that hangs up does not cancel it for the others.
package auth
