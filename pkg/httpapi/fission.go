package httpapi

import (
	"net/http"
	"net/url"
	"strings"
)

// fissionCompat serves requests as the Fission router sends them: it rewrites the path to
// "/" and tells the original in headers. Only a path that names no user is restored, so
// that the headers cannot lead a request for one user to another.
func fissionCompat(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if restored := originalURL(r); restored != nil {
			clone := *r
			clone.URL = restored
			r = &clone
		}
		next.ServeHTTP(w, r)
	})
}

// originalURL is the URL before the router's rewriting, nil when there was none.
func originalURL(r *http.Request) *url.URL {
	full, id := r.Header.Get("X-Fission-Full-Url"), r.Header.Get("X-Fission-Params-Userid")
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path != "" && path != usersPath || full == "" && id == "" {
		return nil
	}
	restored := &url.URL{Path: usersPath, RawQuery: r.URL.RawQuery}
	if original, err := url.Parse(full); err == nil && strings.HasPrefix(original.Path, "/ai/admin/") {
		restored.Path = strings.TrimSuffix(original.Path, "/")
		if restored.RawQuery == "" {
			restored.RawQuery = original.RawQuery
		}
	}
	if id != "" && restored.Path == usersPath {
		restored.Path += "/" + id
	}
	return restored
}
