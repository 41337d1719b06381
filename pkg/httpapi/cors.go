package httpapi

import (
	"net/http"

	"github.com/rs/cors"
)

// CORS says which pages of other origins may call (WHATWG Fetch, section 3.2).
type CORS struct {
	AllowedOrigins   []string
	AllowCredentials bool
}

// UseCORS makes other rules apply from now on.
func (a *API) UseCORS(rules CORS) {
	options := cors.Options{
		AllowedOrigins:   rules.AllowedOrigins,
		AllowCredentials: rules.AllowCredentials,
		AllowedMethods:   []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"},
		AllowedHeaders:   []string{"*"},
		ExposedHeaders: []string{"ETag", "Link", "Location", "X-Request-Id", "Idempotency-Replayed", "Retry-After",
			"WWW-Authenticate", "Allow", "Accept-Patch", "ce-id", "ce-type", "ce-source", "ce-subject", "ce-time", "ce-specversion",
			"ce-dataschema", "ce-sequence", "ce-partitionkey", "ce-causationid"},
		MaxAge: 600,
	}
	if len(rules.AllowedOrigins) == 0 { // the library would read an empty list as all
		options.AllowOriginFunc = func(string) bool { return false }
	}
	a.cors.Store(cors.New(options))
}

// withCORS adds the CORS headers. A request with more than one Origin line gets none: the
// library would look at the first and answer with all of them.
func (a *API) withCORS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Origin"]) > 1 {
			w.Header().Add("Vary", "Origin")
			next.ServeHTTP(w, r)
			return
		}
		a.cors.Load().Handler(next).ServeHTTP(w, r)
	})
}
