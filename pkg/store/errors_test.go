package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	pg := func(code, constraint string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code, ConstraintName: constraint, Message: "planted", Detail: "planted"})
	}
	for name, test := range map[string]struct {
		err  error
		want user.Kind
	}{
		"a taken tag":                {pg("23505", "users_tag"), user.DuplicateTag},
		"a taken id":                 {pg("23505", "users_pkey"), user.DuplicateID},
		"a taken address":            {pg("23505", "users_email"), user.DuplicateEmail},
		"a taken externalId":         {pg("23505", "users_external_id"), user.DuplicateExternalID},
		"another unique index":       {pg("23505", "events_pkey"), user.Internal},
		"another fault of the index": {pg("23514", "users_tag"), user.Internal},
		"a syntax error":             {pg("42601", ""), user.Internal},
		"connection failure":         {pg("08006", ""), user.Unavailable},
		"too many connections":       {pg("53300", ""), user.Unavailable},
		"shutting down":              {pg("57P01", ""), user.Unavailable},
		"starting up":                {pg("57P03", ""), user.Unavailable},
		"wrong password":             {pg("28P01", ""), user.Unavailable},
		"no such database":           {pg("3D000", ""), user.Unavailable},
		"read-only after a failover": {pg("25006", ""), user.Unavailable},
		"a deadlock's victim":        {pg("40P01", ""), user.Unavailable},
		"no connection allowed":      {fmt.Errorf("dial: %w", &pgconn.ConnectError{Config: &pgconn.Config{}}), user.Unavailable},
		"no table yet":               {pg("42P01", ""), user.Unavailable},
		"no column yet":              {pg("42703", ""), user.Unavailable},
		"held for long":              {pg("55P03", ""), user.Unavailable},
		"disk full":                  {pg("53100", ""), user.Unavailable},
		"statement_timeout":          {pg("57014", ""), user.Timeout},
		"deadline":                   {fmt.Errorf("query: %w", context.DeadlineExceeded), user.Timeout},
		"refused":                    {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, user.Unavailable},
		"reset":                      {fmt.Errorf("receive: %w", syscall.ECONNRESET), user.Unavailable},
		"cut off":                    {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), user.Unavailable},
		"bad connection":             {driver.ErrBadConn, user.Unavailable},
		"connection done":            {sql.ErrConnDone, user.Unavailable},
		"own fault":                  {errors.New("planned"), user.Internal},
		"known":                      {fmt.Errorf("x: %w", user.Errorf(user.Malformed, "m")), user.Malformed},
	} {
		got := store.Translate(test.err)
		if user.KindOf(got) != test.want {
			t.Errorf("%s is %s, want %s", name, user.KindOf(got), test.want)
		}
		if strings.Contains(got.Error(), "planted") {
			t.Errorf("%s tells the database's text: %v", name, got)
		}
	}
	if store.Translate(nil) != nil {
		t.Error("no error is one")
	}
	if err := store.Translate(context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that went is %v", err)
	}
}

// TestDatabaseAway stops a database under a store that works, and starts it again.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t)
	s := open(t, cluster.URL("postgres"))
	_, err := s.Migrate(t.Context(), nil)
	must(t, err)
	u := ann(t, "ann")
	insert(t, s, u)
	must(t, cluster.StopImmediate(t.Context()))
	bob := ann(t, "bob")
	for name, do := range map[string]func() error{
		"get":     func() error { _, err := s.Get(t.Context(), user.Ref{ID: u.ID}); return err },
		"by tag":  func() error { _, err := s.Get(t.Context(), user.Ref{Tag: "ann"}); return err },
		"list":    func() error { _, err := s.List(t.Context(), parse(t, "")); return err },
		"filter":  func() error { _, err := s.List(t.Context(), parse(t, "provider=openai&count=none")); return err },
		"insert":  func() error { return insertAll(t.Context(), s, nil, bob) },
		"update":  func() error { _, err := change(t.Context(), s, u.ID, func(*user.User) {}); return err },
		"delete":  func() error { return remove(t.Context(), s, u.ID, nil) },
		"sealed":  func() error { _, err := s.Reveal(t.Context(), u.ID, "openai", user.AuditEntry{}); return err },
		"history": func() error { _, _, err := s.History(t.Context(), u.ID, 1, 1); return err },
		"feed":    func() error { _, _, err := s.Feed(t.Context(), user.Place{XID: 1}, 1); return err },
		"ping":    func() error { return s.Ping(t.Context()) },
		"migrate": func() error { _, err := s.Migrate(t.Context(), nil); return err },
	} {
		if err := do(); user.KindOf(err) != user.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, cluster.Start(t.Context()))
	if got, err := s.Get(t.Context(), user.Ref{ID: u.ID}); err != nil || got.Tag != "ann" {
		t.Errorf("after it came back: %v", err)
	}
	insert(t, s, bob)
}

// TestDeadlines: a statement that waits for a lock ends with its request.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann")
	insert(t, s, u)
	warm(t, s, 2) // or the deadline could pass while connecting, which is the database's fault
	_, err := change(t.Context(), s, u.ID, func(*user.User) {
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := change(short, s, u.ID, func(u *user.User) { u.Name = "B" }); user.KindOf(err) != user.Timeout {
			t.Errorf("past its deadline: %v", err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := change(gone, s, u.ID, func(u *user.User) { u.Name = "B" }); !errors.Is(err, context.Canceled) {
			t.Errorf("without a client: %v", err)
		}
	})
	must(t, err)
	if _, err := s.Get(t.Context(), user.Ref{ID: u.ID}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// warm makes the pool hold so many connections.
func warm(t testing.TB, s *store.Store, connections int) {
	t.Helper()
	for range connections {
		conn, err := s.DB().Conn(t.Context())
		must(t, err)
		defer func() { _ = conn.Close() }()
	}
}
