package auth

import (
	"encoding/json"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// The only signatures taken. In particular no "none", and no HMAC, for which an issuer's
// public key would do as the shared secret (RFC 8725 sections 2.1 and 3.1).
var (
	algorithms     = []string{oidc.RS256, oidc.ES256, oidc.EdDSA}
	joseAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}
)

// jwt is a token as it describes itself: nothing in it is verified yet.
type jwt struct {
	raw, issuer, keyID, algorithm string
}

// parseJWT reads a JWS in compact serialization (RFC 7515 section 7.1) with an
// algorithm of ours. The signature is not looked at.
func parseJWT(token string) (jwt, error) {
	jws, err := jose.ParseSignedCompact(token, joseAlgorithms)
	if err != nil {
		return jwt{}, invalid("it is no JWT signed by RS256, ES256 or EdDSA")
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return jwt{}, invalid("its payload is not a JSON object")
	}
	header := jws.Signatures[0].Header
	return jwt{token, claims.Issuer, header.KeyID, header.Algorithm}, nil
}
