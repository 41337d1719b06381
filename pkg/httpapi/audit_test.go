package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/user"
)

// recording keeps audit entries.
type recording struct {
	Admin
	mu      sync.Mutex
	entries []user.AuditEntry
}

func (f *recording) Audit(_ context.Context, e user.AuditEntry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = append(f.entries, e)
	return nil
}

// TestRefusalsAreAudited: a bad token is counted by its source, a missing scope has an entry by itself until
// there are very many of them, and a missing token is none.
func TestRefusalsAreAudited(t *testing.T) {
	t.Parallel()
	log := &recording{}
	api, _ := service(t, log, func(o *Options) {
		o.Authenticate = func(_ context.Context, header string) (auth.Caller, error) {
			switch header {
			case "":
				return auth.Caller{}, auth.ErrMissing
			case "Bearer reader":
				return auth.NewCaller("reader", auth.UsersRead), nil
			default:
				return auth.Caller{}, auth.ErrInvalid
			}
		}
	})
	askFor := func(path, token string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr = "192.0.2.7:1"
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w.Code
	}
	ask := func(token string) int { return askFor("/ai/admin/audit", token) }
	if code := askFor(onePath+"/keys/none", "reader"); code != 404 || len(log.entries) != 0 {
		t.Errorf("the second of two scopes: %d, %+v", code, log.entries)
	}
	if ask("") != 401 || len(log.entries) != 0 {
		t.Errorf("a missing token: %+v", log.entries)
	}
	if ask("wrong") != 401 || len(log.entries) != 1 || log.entries[0].Action != user.TokenRefused || log.entries[0].Bucket == "" ||
		log.entries[0].SourceIP != "192.0.2.7" || log.entries[0].Actor != "" {
		t.Errorf("a wrong token: %+v", log.entries)
	}
	if ask("reader") != 403 || len(log.entries) != 2 {
		t.Fatalf("a missing scope: %+v", log.entries)
	}
	if e := log.entries[1]; e.Action != user.ScopeDenied || e.Bucket != "" || e.Actor != "reader" || e.RequestID == "" || e.Outcome != user.Denied ||
		string(e.Detail) != `{"scope":"audit:read","route":"/ai/admin/audit"}` {
		t.Errorf("a missing scope: %+v", e)
	}
	if askFor(onePath+"/credentials/openai", "reader") != 403 {
		t.Error("a secret is shown without the scope for it")
	}
	if e := log.entries[2]; e.Action != user.ScopeDenied || usersPath+"/"+e.UserID.String() != onePath || e.Provider != "openai" {
		t.Errorf("whose secret was asked for: %+v", e)
	}
	for range 2000 {
		ask("reader")
	}
	if log.entries[len(log.entries)-1].Bucket == "" {
		t.Error("a storm of denials is not counted")
	}
}
