package httpapi

import (
	"context"
	"errors"
	"net/http"
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
