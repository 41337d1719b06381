package httpapi

import (
	"context"
	"errors"
	"net/http"
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
		ends   bool
	}{
		"it still may":          {reader, nil, false},
		"its issuer is away":    {auth.Caller{}, errors.New("away"), false},
		"its token was removed": {auth.Caller{}, auth.ErrUnauthenticated, true},
		"its scope was removed": {auth.NewCaller("reader", auth.EventsSend), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				caller, err := reader, error(nil)
				var lasted time.Duration
				a, _ := service(t, fake{}, func(o *Options) {
					o.Timeout = time.Minute
					o.Authenticate = func(context.Context, string) (auth.Caller, error) { return caller, err }
					o.Stream = func(_ http.ResponseWriter, r *http.Request, _ string) error {
						caller, err = test.caller, test.err
						began := time.Now()
						<-r.Context().Done()
						lasted = time.Since(began)
						return nil
					}
				})
				ask(a, "GET", "/ai/admin/changes", "Accept", "text/event-stream")
				if want := map[bool]time.Duration{true: askAgain, false: time.Minute}[test.ends]; lasted != want {
					t.Errorf("the stream lasted %v, want %v", lasted, want)
				}
			})
		})
	}
}
