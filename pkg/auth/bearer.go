package auth

import "strings"

// maxHeader bounds the Authorization header, in bytes. The largest ID tokens seen, with
// hundreds of groups, are below it.
const maxHeader = 16 << 10

// bearer returns the token of an Authorization header (RFC 6750 section 2.1). The scheme
// ignores case (RFC 9110 section 11.1). Any visible ASCII is taken, more than the
// grammar's b64token: an operator's own token is known by its hash, whatever it is made of.
func bearer(header string) (string, error) {
	if len(header) > maxHeader {
		return "", invalid("the header is over 16 KiB")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	token = strings.Trim(token, " ")
	if token == "" {
		return "", invalid("the token is empty")
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", invalid("the token holds a character other than visible ASCII")
		}
	}
	return token, nil
}
