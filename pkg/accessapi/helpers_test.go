package accessapi_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/accessapi"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/httpapi"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/user"
	"aiadmin/test/logtest"
)

// book is what a database would hold, for tests of what is on the wire. The real one is behind the
// same interface in test/gateways and test/blackbox.
type book struct {
	mu          sync.Mutex
	subjects    map[user.Ref]*access.Subject
	keys        map[access.Hash]*access.Key
	owners      map[uuid.UUID]*access.Subject // by key
	credentials map[string]string             // by user and provider
	away        error
	asked       []access.Question
}

func newBook() *book {
	return &book{subjects: map[user.Ref]*access.Subject{}, keys: map[access.Hash]*access.Key{},
		owners: map[uuid.UUID]*access.Subject{}, credentials: map[string]string{}}
}

// user notes a user with a key, and returns both and the key's secret.
func (b *book) user(tag string) (*access.Subject, *access.Key, string) {
	s := &access.Subject{ID: user.NewID(), Tag: tag, Role: user.Member, Status: user.Active, Version: 7}
	k, plain := &access.Key{ID: user.NewID()}, access.NewSecret()
	b.subjects[user.Ref{ID: s.ID}] = s
	b.subjects[user.Ref{Tag: tag}] = s
	b.subjects[user.Ref{Email: tag + "+ai@example.com"}] = s
	b.keys[plain.Hash()], b.owners[k.ID] = k, s
	return s, k, plain.Text().Reveal()
}

// Check implements [accessapi.Checker].
func (b *book) Check(ctx context.Context, questions []access.Question, semantic access.Semantic) ([]access.Decision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := cmp.Or(b.away, ctx.Err()); err != nil {
		return nil, err
	}
	var decisions []access.Decision
	for _, q := range questions {
		b.asked = append(b.asked, q)
		found := access.Found{Subject: b.subjects[q.Subject]}
		if q.KeyHash != nil {
			if found.Key = b.keys[*q.KeyHash]; found.Key != nil {
				found.Subject = b.owners[found.Key.ID]
			}
		}
		plain := ""
		if found.Subject != nil {
			plain, found.Held = b.credentials[found.Subject.Tag+" "+q.Provider], false
			found.Held = plain != ""
		}
		d := access.Decide(&q, found, time.Now())
		d.Hand(&q, secret.New(plain))
		decisions = append(decisions, d)
		if semantic.Ends(&d) {
			break
		}
	}
	return decisions, nil
}

// rig is the handler behind a real server.
type rig struct {
	*book
	url      string
	token    string // scopes access:check and credentials:read
	plain    string // scope access:check
	reader   string // scope users:read
	settings accessapi.Settings
	outcomes map[string]int
	log      *logtest.Buffer
	client   *http.Client
}

func newRig(t testing.TB) *rig {
	t.Helper()
	g := &rig{book: newBook(), outcomes: map[string]int{}, log: &logtest.Buffer{},
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}
	var tokens []auth.Token
	for into, scopes := range map[*string][]auth.Scope{&g.token: {auth.AccessCheck, auth.CredentialsRead}, &g.plain: {auth.AccessCheck}, &g.reader: {auth.UsersRead}} {
		plain, entry, err := auth.NewToken(fmt.Sprintf("gateway %d", len(tokens)), scopes...)
		if err != nil {
			t.Fatal(err)
		}
		*into, tokens = plain.Reveal(), append(tokens, entry)
	}
	authenticator, err := auth.New(auth.Options{Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(g.log, nil))
	handler := accessapi.New(accessapi.Options{Checker: g.book, Settings: func() accessapi.Settings { return g.settings }, Log: log,
		Authenticate: func(ctx context.Context, header string) (auth.Caller, error) {
			return httpapi.Identify(ctx, authenticator.Authenticate, header)
		},
		Observe: func(face, outcome string) { g.mu.Lock(); g.outcomes[face+" "+outcome]++; g.mu.Unlock() }})
	api := httpapi.New(httpapi.Options{Access: handler, Authenticate: authenticator.Authenticate, Log: log, Timeout: 5 * time.Second},
		httpapi.CORS{AllowedOrigins: []string{"https://console.example.com"}})
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	t.Cleanup(g.client.CloseIdleConnections)
	g.url = server.URL
	return g
}

type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with headers given as "Name: value".
func (g *rig) ask(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	answer, err := g.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Header, string(text)}
}
