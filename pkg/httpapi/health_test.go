package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"aiadmin/pkg/user"
)

// TestProbesAreNoErrors: a probe that finds the service unready is told of at each request,
// aloud when that is news, and never as an error, which failures of real requests are.
func TestProbesAreNoErrors(t *testing.T) {
	t.Parallel()
	var check string
	api, log := service(t, fake{get: func(context.Context) (*user.User, error) { return nil, errors.New("out of order") }}, func(o *Options) {
		o.Ready = func(context.Context) (string, error) {
			if check == "" {
				return "", nil
			}
			return check, errors.New(check + " is not there")
		}
	})
	for _, check = range []string{"migrations", "migrations", "database", "database", "", "", "shutdown", "shutdown"} {
		ask(api, http.MethodGet, "/readyz")
	}
	ask(api, http.MethodGet, onePath)
	var got []string
	for text := range strings.Lines(log.String()) {
		var line struct{ Level, Error, RequestID, Msg string }
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.RequestID == "" || line.Msg != "request" {
			t.Fatalf("%v: %s", err, text)
		}
		got = append(got, line.Level+" "+line.Error)
	}
	want := []string{"WARN migrations is not there", "INFO migrations is not there", "WARN database is not there", "INFO database is not there",
		"INFO ", "INFO ", "WARN shutdown is not there", "INFO shutdown is not there", "ERROR out of order"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
