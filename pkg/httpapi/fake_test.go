package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/user"
	"aiadmin/test/logtest"
)

// fake answers for the service: what these tests are about is everything around it.
type fake struct {
	Admin
	get  func(context.Context) (*user.User, error)
	list func(context.Context) (user.Page, error)
	// apply decides what a change fails with; it changes nothing.
	apply func(context.Context) error
}

func (f fake) Apply(ctx context.Context, _ user.Command) (user.Outcome, error) {
	return user.Outcome{User: someone()}, f.apply(ctx)
}

func (f fake) Get(ctx context.Context, _ user.Ref) (*user.User, error) { return f.get(ctx) }

func (f fake) List(ctx context.Context, _ user.Query) (user.Page, error) { return f.list(ctx) }

func (f fake) Changes(context.Context, string, int) (user.ChangesPage, error) {
	return user.ChangesPage{}, nil
}

func (f fake) Reveal(context.Context, uuid.UUID, string, user.AuditEntry) (secret.Text, error) {
	return secret.New("sk-planted"), nil
}

// service makes an API over a fake; change may be nil.
func service(t testing.TB, admin Admin, change func(*Options)) (*API, *logtest.Buffer) {
	t.Helper()
	log := &logtest.Buffer{}
	options := Options{Admin: admin, Log: slog.New(slog.NewJSONHandler(log, nil)),
		Authenticate: func(_ context.Context, header string) (auth.Caller, error) {
			if header == "" {
				return auth.Caller{}, auth.ErrMissing
			}
			return auth.NewCaller("tester", auth.Admin), nil
		},
		Ready:       func(context.Context) (string, error) { return "", nil },
		AppendEvent: func(dst []byte, _ user.Event) []byte { return append(dst, "{}"...) }}
	if change != nil {
		change(&options)
	}
	return New(options, CORS{AllowedOrigins: []string{"https://console.example.com"}}), log
}

func someone() *user.User {
	return &user.User{ID: uuid.MustParse("01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"), Tag: "ada", Name: "Ada", Role: user.Member,
		Status: user.Active, Metadata: []byte("{}"), Version: 7, CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(2, 0)}
}

const onePath = usersPath + "/01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"

// ask sends one authorized request and returns what was answered.
func ask(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer planted-token")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
