package gateways

import (
	"context"
	"io"
	"log/slog"
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
)

// service answers checks.
type service struct {
	address, token string

	mu    sync.Mutex
	keys  map[access.Hash]*holder
	gone  bool
	cards map[uuid.UUID]string
}

type holder struct {
	subject access.Subject
	key     access.Key
}

func newService(t testing.TB) *service {
	s := &service{keys: map[access.Hash]*holder{}, cards: map[uuid.UUID]string{}}
	plain, entry, err := auth.NewToken("gateway", auth.AccessCheck, auth.CredentialsRead)
	if err != nil {
		t.Fatal(err)
	}
	authenticator, err := auth.New(auth.Options{Tokens: []auth.Token{entry}})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	api := httpapi.New(httpapi.Options{Log: log, Authenticate: authenticator.Authenticate, Access: accessapi.New(accessapi.Options{
		Checker: s, Settings: func() accessapi.Settings { return accessapi.Settings{} }, Log: log,
		Authenticate: func(ctx context.Context, header string) (auth.Caller, error) {
			return httpapi.Identify(ctx, authenticator.Authenticate, header)
		},
		Problem: httpapi.WriteProblem, Status: httpapi.Status, Describe: httpapi.Describe, RequestID: httpapi.RequestID,
		Observe: func(string, string) {},
	})}, httpapi.CORS{})
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	s.address, s.token = strings.TrimPrefix(server.URL, "http://"), plain.Reveal()
	return s
}

// Check implements [accessapi.Checker].
func (s *service) Check(_ context.Context, questions []access.Question, _ access.Semantic) ([]access.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, user.Errorf(user.Unavailable, "the database cannot be reached")
	}
	var decisions []access.Decision
	for _, q := range questions {
		found, plain := access.Found{}, ""
		if h, ok := s.keys[*q.KeyHash]; ok {
			found.Subject, found.Key = &h.subject, &h.key
			plain = s.cards[h.subject.ID]
			found.Held = plain != ""
		}
		d := access.Decide(&q, found, time.Now())
		d.Hand(&q, secret.New(plain))
		decisions = append(decisions, d)
	}
	return decisions, nil
}

// person is a user with a credential and a key.
type person struct{ id, key string }

// user makes one; members are those of the body of POST /ai/admin/users.
func (s *service) user(_ testing.TB, members map[string]any) person {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &holder{subject: access.Subject{ID: user.NewID(), Role: user.Member, Status: user.Active, Tag: "t", Version: 2}, key: access.Key{ID: user.NewID()}}
	if models, ok := members["models"].([]string); ok {
		h.subject.Models = models
	}
	if members["status"] == "suspended" {
		h.subject.Status = user.Suspended
	}
	if members["expiresAt"] != nil {
		h.subject.ExpiresAt = new(time.Time)
	}
	if members["limits"] != nil {
		h.subject.Limits.TokensPerMinute = new(int64)
	}
	if members["credentials"] == nil {
		s.cards[h.subject.ID] = credential
	}
	plain := access.NewSecret()
	s.keys[plain.Hash()] = h
	return person{h.subject.ID.String(), plain.Text().Reveal()}
}

func (s *service) suspend(_ testing.TB, p person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.keys {
		if h.subject.ID.String() == p.id {
			h.subject.Status = user.Suspended
		}
	}
}

func (s *service) stopDatabase(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
}
