package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

var morning = time.Date(2026, 1, 31, 8, 0, 0, 123456000, time.UTC)

// ann is a user with every field, under a tag.
func ann(t testing.TB, tag string, change ...func(*user.User)) *user.User {
	t.Helper()
	create, err := user.ParseCreate([]byte(`{"tag":"` + tag + `","name":"Ann Ä","email":"` + tag + `@X.example","role":"viewer","status":"suspended",
		"userName":"Ann/` + tag + `","expiresAt":"2027-01-01T00:00:00Z",
		"models":["gpt-5*","a,b","\"q\"",""],"limits":{"requestsPerMinute":5,"tokensPerMinute":6,"monthlyBudgetUSD":7.25},
		"credentials":{"openai":"sk-1234567890"},"metadata":{"team":"a","x":{"n":1.50}},"externalId":"e-` + tag + `"}`))
	must(t, err)
	u, err := create.Apply(0, user.Stamp{Now: morning, KeyID: "k1"})
	must(t, err)
	for _, f := range change {
		f(u)
	}
	return u
}

func claim(id string) *user.Claim {
	return &user.Claim{Kind: user.EventClaim, Scope: "test", ID: id, Digest: []byte("digest")}
}

var command = user.Command{Origin: user.Origin{Actor: "test", Cause: "req"}}

// insert makes a user as the service makes one.
func insert(t testing.TB, s *store.Store, users ...*user.User) {
	t.Helper()
	must(t, insertAll(t.Context(), s, nil, users...))
}

func insertAll(ctx context.Context, s *store.Store, claim *user.Claim, users ...*user.User) error {
	writes := &store.Writes{Insert: users}
	var records []store.Record
	for _, u := range users {
		event := user.Recorded(nil, u, command)
		records = append(records, store.Record{Event: &event, Claim: claim, Expires: time.Now().Add(time.Hour)})
		for _, c := range u.Credentials {
			writes.Seal = append(writes.Seal, store.Seal{User: u, Provider: c.Provider, Sealed: "k1:sealed"})
		}
	}
	return transact(ctx, s, store.Blind, &store.Wanted{}, func(*store.Known) (*store.Writes, []store.Record) { return writes, records })
}

// transact runs one transaction as the service does.
func transact(ctx context.Context, s *store.Store, mode store.Mode, wanted *store.Wanted, f func(*store.Known) (*store.Writes, []store.Record)) error {
	tx, known, err := s.Begin(ctx, mode, wanted)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	writes, records := f(known)
	return tx.Commit(ctx, writes, records)
}

// change makes the next version of a user whose row it waits for.
func change(ctx context.Context, s *store.Store, id uuid.UUID, f func(*user.User), seals ...store.Seal) (after *user.User, err error) {
	wanted := &store.Wanted{Users: []user.Ref{{ID: id}}}
	err = transact(ctx, s, store.Wait, wanted, func(known *store.Known) (*store.Writes, []store.Record) {
		before := known.Users[0]
		copied := *before
		after = &copied
		f(after)
		after.Version++
		for i := range seals {
			seals[i].User = after
		}
		event := user.Recorded(before, after, command)
		return &store.Writes{Update: []*user.User{after}, Seal: seals}, []store.Record{{Event: &event}}
	})
	return after, err
}

// remove deletes a user whose row it waits for.
func remove(ctx context.Context, s *store.Store, id uuid.UUID, claim *user.Claim) error {
	wanted := &store.Wanted{Users: []user.Ref{{ID: id}}, Claims: []store.Claim{{Claim: claim}}}
	return transact(ctx, s, store.Wait, wanted, func(known *store.Known) (*store.Writes, []store.Record) {
		event := user.Removed(known.Users[0], command, morning)
		return &store.Writes{Delete: []uuid.UUID{id}}, []store.Record{{Event: &event, Claim: claim, Expires: time.Now().Add(time.Hour)}}
	})
}
