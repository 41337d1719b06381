package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"aiadmin/pkg/auth"
)

// TestAStreamEndsWithItsCallersLeave holds a stream open while its token is looked at again.
func TestAStreamEndsWithItsCallersLeave(t *testing.T) {
	t.Parallel()
	reader := auth.NewCaller("reader", auth.UsersRead)
	for name, test := range map[string]struct {
		caller auth.Caller
		err    error
		status int
	}{
		"it still may":          {reader, nil, http.StatusGatewayTimeout},
		"its issuer is away":    {auth.Caller{}, errors.New("away"), http.StatusGatewayTimeout},
		"its token was removed": {auth.Caller{}, auth.ErrUnauthenticated, http.StatusUnauthorized},
		"its scope was removed": {auth.NewCaller("reader", auth.EventsSend), nil, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var begun atomic.Bool
				var lasted time.Duration
				a, _ := service(t, fake{}, func(o *Options) {
					o.Timeout = time.Minute
					o.Authenticate = func(context.Context, string) (auth.Caller, error) {
						if begun.Load() {
							return test.caller, test.err
						}
						return reader, nil
					}
					o.Stream = func(_ http.ResponseWriter, r *http.Request, _ string) error {
						begun.Store(true)
						began := time.Now()
						<-r.Context().Done()
						lasted = time.Since(began)
						return r.Context().Err() // as if it had yet to begin
					}
				})
				if got := ask(a, "GET", "/ai/admin/changes", "Accept", "text/event-stream").Code; got != test.status {
					t.Errorf("status %d, want %d", got, test.status)
				}
				if want := map[bool]time.Duration{true: askAgain, false: time.Minute}[test.status != http.StatusGatewayTimeout]; lasted != want {
					t.Errorf("the stream lasted %v, want %v", lasted, want)
				}
			})
		})
	}
}

// TestAStreamEndsWhenItsTokenExpires: by the entry in tokens.json, without anything changing.
func TestAStreamEndsWhenItsTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plain, entry, err := auth.NewToken("contractor", auth.UsersRead)
		if err != nil {
			t.Fatal(err)
		}
		entry.ExpiresAt = time.Now().Add(5 * time.Second)
		authenticator, err := auth.New(auth.Options{Tokens: []auth.Token{entry}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		a, _ := service(t, fake{}, func(o *Options) {
			o.Authenticate = authenticator.Authenticate
			o.Stream = func(_ http.ResponseWriter, r *http.Request, _ string) error {
				<-r.Context().Done()
				return context.Cause(r.Context())
			}
		})
		answer := ask(a, "GET", "/ai/admin/changes", "Accept", "text/event-stream", "Authorization", "Bearer "+plain.Reveal())
		if lasted := time.Since(began); lasted < 5*time.Second || lasted > 5*time.Second+askAgain {
			t.Errorf("it lasted %v", lasted)
		}
		if answer.Code != http.StatusUnauthorized || !strings.Contains(answer.Body.String(), "has expired") {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
	})
}
