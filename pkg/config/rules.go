package config

import (
	"cmp"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A rule returns the value to use or, if the written one is not valid, what is expected.
type rule func(written string) (value, want string)

// nameRule is for audiences, claims and their values.
func nameRule(written string) (string, string) {
	if written == "" || utf8.RuneCountInString(written) > 255 || strings.ContainsFunc(written, unicode.IsControl) {
		return "", "must be 1 to 255 characters without control characters"
	}
	return written, ""
}

// originRule takes what browsers send as Origin (RFC 6454 section 6.2): scheme and host in lower
// case, a port unless it is the scheme's default. An origin in any other spelling would never
// match.
func originRule(written string) (string, string) {
	const want = "must be an origin: https://host or https://host:port (or http), with nothing after it; or * alone"
	if written == "*" {
		return written, ""
	}
	u, err := url.Parse(strings.ToLower(written))
	if err != nil || !isWeb(u) || u.User != nil || strings.ContainsAny(written, "?#*,") || u.Path != "" || strings.HasSuffix(u.Host, ":") {
		return "", want
	}
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		u.Host = u.Host[:strings.LastIndexByte(u.Host, ':')]
	}
	return u.Scheme + "://" + u.Host, ""
}

// issuerRule follows OpenID Connect Discovery 1.0 section 3: https, no query, no fragment. Over
// plain http, anybody on the path could hand us signing keys, so http is allowed for localhost
// alone.
func issuerRule(written string) (string, string) {
	const want = "must be an https:// URL without user, query and fragment (http:// for localhost alone), exactly as in the tokens' iss"
	u, err := url.Parse(written)
	if err != nil || !isWeb(u) || u.User != nil || strings.ContainsAny(written, "?#") || len(written) > 1024 {
		return "", want
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return "", want
	}
	return written, ""
}

// sourceRule follows CloudEvents 1.0 section 3: a non-empty URI reference.
func sourceRule(written string) (string, string) {
	u, err := url.Parse(written)
	if err != nil || written == "" || len(written) > 1024 || strings.ContainsFunc(written, notInURI) || u.User != nil {
		return "", "must be a URI reference of 1 to 1024 characters, such as /ai/admin/users or https://host/path"
	}
	return written, ""
}

// endpointRule takes the URL of a receiver of spans. Empty is none.
func endpointRule(written string) (string, string) {
	u, err := url.Parse(written)
	if written != "" && (err != nil || !isWeb(u) || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		return "", "must be the URL of an OTLP/HTTP receiver, such as http://collector:4318"
	}
	return written, ""
}

// isWeb reports whether u is an http or https URL with a usable host and port.
func isWeb(u *url.URL) bool {
	_, err := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16)
	return (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && err == nil &&
		!strings.ContainsFunc(u.Host, notInURI)
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// notInURI reports whether RFC 3986 allows r only percent-encoded.
func notInURI(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r)
}
