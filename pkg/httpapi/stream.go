package httpapi

import (
	"context"
	"net/http"
	"time"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/user"
)

// askAgain is how often the caller of a stream is looked at again.
const askAgain = time.Second

// whileAllowed is the request with a context that also ends, for that cause, when its caller may no longer
// do this: a token was removed, or has expired. That it cannot be checked at the moment is no end.
func (a *API) whileAllowed(r *http.Request, scope auth.Scope) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(r.Context())
	r = r.WithContext(ctx)
	go func() {
		ticker := time.NewTicker(askAgain)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			caller, err := a.caller(r)
			if err == nil {
				err = permit(caller, scope)
			}
			if kind := user.KindOf(err); kind == user.Unauthenticated || kind == user.Forbidden {
				cancel(err)
			}
		}
	}()
	return r, func() { cancel(nil) }
}
