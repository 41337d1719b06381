package auth

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// algorithms are the only signatures accepted. In particular "none" is not, nor is HMAC, for which
// an issuer's public key would serve as the shared secret (RFC 8725 sections 2.1 and 3.1).
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

// jwt is a signed token. Nothing in it can be trusted before [keySet.verify].
type jwt struct {
	signed           *jose.JSONWebSignature
	keyID, algorithm string
	claims           object
}

// parseJWT reads a JWS in compact serialization (RFC 7515 section 7.1). The signature is
// not checked here.
func parseJWT(token string) (jwt, error) {
	protected, _, _ := strings.Cut(token, ".")
	header, err := parseHeader(protected)
	if err != nil {
		return jwt{}, err
	}
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return jwt{}, invalid("it is no JWT signed by RS256, ES256 or EdDSA")
	}
	parsed := jwt{signed: signed, algorithm: signed.Signatures[0].Header.Algorithm}
	if id, ok := header["kid"]; ok {
		if parsed.keyID, ok = stringOf(id); !ok {
			return jwt{}, invalid("its kid is not a string")
		}
	}
	// Strict: names to the letter, where encoding/json takes Exp for exp, and each name once
	// (RFC 7519 section 4, RFC 8725 section 2.4).
	if json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &parsed.claims) != nil || parsed.claims == nil {
		return jwt{}, invalid("its payload is not a strict JSON object")
	}
	return parsed, nil
}

// parseHeader reads the JOSE header. It refuses members that change a token's meaning in ways not
// supported here (RFC 7515 section 4.1).
func parseHeader(encoded string) (object, error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, invalid("its header is not base64url")
	}
	var header object
	if json.Unmarshal(text, &header) != nil || header == nil {
		return nil, invalid("its header is not a strict JSON object")
	}
	for _, name := range []string{"crit", "b64"} { // no extension is understood, and a JWT has no raw payload (RFC 7797 section 7)
		if _, given := header[name]; given {
			return nil, invalid("its header has " + name)
		}
	}
	if contents, given := header["cty"]; given && isType(contents, "jwt") {
		return nil, invalid("it is a nested token")
	}
	// A token made for something else, such as a logout, must not log anyone in (RFC 8725 section 3.11).
	if kind, given := header["typ"]; given && !isType(kind, "jwt") && !isType(kind, "at+jwt") {
		return nil, invalid("its typ is neither JWT nor at+jwt")
	}
	return header, nil
}

// isType compares a media type of a header, which may leave out "application/" and ignores
// case (RFC 7515 section 4.1.9).
func isType(value jsontext.Value, want string) bool {
	text, ok := stringOf(value)
	text = strings.ToLower(text)
	return ok && strings.TrimPrefix(text, "application/") == want
}

// object is a JSON object: a token's claims, its header, or what is nested in either.
type object map[string]jsontext.Value

// latest is the last moment that a NumericDate may name, in seconds: the year 9999.
const latest = 253402300799

// time reads a NumericDate (RFC 7519 section 2): a number, and never its text.
func (o object) time(name string) (at time.Time, given bool, err error) {
	value, given := o[name]
	if !given {
		return time.Time{}, false, nil
	}
	seconds, err := strconv.ParseFloat(string(value), 64)
	if value.Kind() != '0' || err != nil || seconds < -latest || seconds > latest {
		return time.Time{}, true, invalid("its " + name + " is not a number of seconds")
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true, nil
}

// audience reads aud: a string, or a list of strings (RFC 7519 section 4.1.3).
func (o object) audience() []string {
	if one, ok := stringOf(o["aud"]); ok {
		return []string{one}
	}
	var all []string
	if o["aud"].Kind() != '[' || json.Unmarshal(o["aud"], &all) != nil {
		return nil
	}
	return all
}

// text returns a claim that is a string, "" when there is none.
func (o object) text(name string) string {
	text, _ := stringOf(o[name])
	return text
}

func stringOf(value jsontext.Value) (text string, ok bool) {
	ok = value.Kind() == '"' && json.Unmarshal(value, &text) == nil
	return text, ok
}

// find returns the member named path. If there is none, it cuts path at a dot, longest prefix
// first, and finds the rest in the object of that name. It returns nil if nothing is found.
func (o object) find(path string) jsontext.Value {
	if value, ok := o[path]; ok {
		return value
	}
	for dot := strings.LastIndexByte(path, '.'); dot >= 0; dot = strings.LastIndexByte(path[:dot], '.') {
		value := o[path[:dot]]
		if value.Kind() != '{' {
			continue
		}
		var nested object
		if json.Unmarshal(value, &nested) != nil {
			continue
		}
		if found := nested.find(path[dot+1:]); found != nil {
			return found
		}
	}
	return nil
}

func (g Grant) matches(all object) bool {
	value := all.find(g.Claim)
	if value.Kind() != '[' {
		return scalarIs(value, g.Value)
	}
	var elements []jsontext.Value
	if json.Unmarshal(value, &elements) != nil {
		return false
	}
	for _, element := range elements {
		if scalarIs(element, g.Value) {
			return true
		}
	}
	return false
}

func scalarIs(value jsontext.Value, want string) bool {
	switch value.Kind() {
	case '"':
		text, ok := stringOf(value)
		return ok && text == want
	case 't', 'f', '0':
		return string(value) == want
	}
	return false
}
