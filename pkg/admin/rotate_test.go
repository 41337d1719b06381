package admin_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/nacl/secretbox"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
	"aiadmin/test/pgtest"
)

const (
	keyOne = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	keyTwo = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
)

// withKeys opens a service on a database with two keys, one of them primary.
func withKeys(t *testing.T, url, primary string, log *bytes.Buffer) *admin.Service {
	t.Helper()
	return withKeysWithin(t, url, primary, log, 0)
}

// withKeysWithin waits only so long for a user whom another session holds.
func withKeysWithin(t *testing.T, url, primary string, log *bytes.Buffer, patience time.Duration) *admin.Service {
	t.Helper()
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 8, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := vault.ParseKeyRing(map[string]string{"one": keyOne, "two": keyTwo, "PRIMARY": primary})
	if err != nil {
		t.Fatal(err)
	}
	return admin.New(db, keys, admin.Retention{}, admin.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
}

func createWithSecret(t *testing.T, s *admin.Service, tag, plain string) *user.User {
	t.Helper()
	change, err := user.ParseCreate(fmt.Appendf(nil, `{"tag":%q,"name":"N","credentials":{"openai":%q}}`, tag, plain))
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := s.Apply(t.Context(), user.Command{Change: change, Origin: user.Origin{Actor: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	return outcome.User
}

// TestRotateResealsWhatClaimsKeep: a request that made a key's secret is answered with it again after the key of the
// vault that sealed it is gone.
func TestRotateResealsWhatClaimsKeep(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var log bytes.Buffer
	before := withKeys(t, url, "one", &log)
	ann := createWithSecret(t, before, "ann", "sk-secret-of-ann")
	patch, err := user.ParseKeyPatch([]byte(`{"name":"ci"}`), "name")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(s *admin.Service, shown string) user.Outcome {
		t.Helper()
		outcome, err := s.Apply(t.Context(), user.Command{User: user.Ref{ID: ann.ID}, Origin: user.Origin{Actor: "test"},
			Change: user.IssueKey{KeyPatch: patch, KeyID: user.NewID(), Secret: user.NewSecret{Hash: []byte(strings.Repeat("h", 32)), Hint: "abcd"}},
			Claim:  &user.Claim{Kind: user.RequestClaim, Scope: "test", ID: "1", Digest: []byte("d"), Secret: secret.New(shown)}})
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	issue(before, "aik_first")
	done, err := withKeys(t, url, "two", &log).Rotate(t.Context(), func(admin.Rotation) {})
	if err != nil || done.Total != 2 || done.Resealed != 2 || done.Refused != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := vault.ParseKeyRing(map[string]string{"two": keyTwo, "PRIMARY": "two"})
	if err != nil {
		t.Fatal(err)
	}
	if again := issue(admin.New(db, keys, admin.Retention{}, admin.Options{Log: slog.New(slog.DiscardHandler)}), "aik_second"); !again.Replayed || again.Secret.Reveal() != "aik_first" {
		t.Errorf("%+v", again)
	}
}

func TestRotateReseals(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var log bytes.Buffer
	before := withKeys(t, url, "one", &log)
	users := make([]*user.User, 450) // more than two batches
	for i := range users {
		users[i] = createWithSecret(t, before, fmt.Sprintf("u%d", i), fmt.Sprintf("sk-secret-number-%d", i))
	}
	after := withKeys(t, url, "two", &log)
	calls := 0
	ctx, stop := context.WithCancel(t.Context())
	_, err := after.Rotate(ctx, func(admin.Rotation) { calls++; stop() }) // ended half-way
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Fatalf("an ended rotation: %v after %d batches", err, calls)
	}
	done, err := after.Rotate(t.Context(), func(admin.Rotation) {})
	if err != nil || done.Total != 250 || done.Resealed != 250 {
		t.Fatalf("the next run goes on with the rest: %+v, %v", done, err)
	}
	if done, err = after.Rotate(t.Context(), func(admin.Rotation) {}); err != nil || done.Total != 0 {
		t.Fatalf("nothing is left to rotate: %+v, %v", done, err)
	}
	for i, u := range users {
		got, err := after.Reveal(t.Context(), u.ID, "openai", user.AuditEntry{})
		if err != nil || got.Reveal() != fmt.Sprintf("sk-secret-number-%d", i) {
			t.Fatalf("user %d after rotation: %v", i, err)
		}
		shown, err := after.Get(t.Context(), user.Ref{ID: u.ID})
		if err != nil || shown.Credentials[0].KeyID != "two" || shown.Version != 1 {
			t.Fatalf("user %d shows %+v, %v", i, shown.Credentials, err)
		}
	}
}

func TestRotateTakesTheOldFunctionsValues(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var log bytes.Buffer
	s := withKeys(t, url, "two", &log)
	old := createWithSecret(t, s, "old", "replaced below")
	broken := createWithSecret(t, s, "broken", "replaced below too")
	set(t, url, old, "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZX3b92DqdlF3kg9IOhp7/UpDl8eBVTJ94HBcUfosfqmUeq9O95ndzLWQ==")
	set(t, url, broken, "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1sfV/XKr/KHuHLu9lAWN3A==")
	latin := createWithSecret(t, s, "latin", "replaced below as well")
	set(t, url, latin, oldBox(t, "Gr\xfc\xdfe"))
	done, err := s.Rotate(t.Context(), func(admin.Rotation) {})
	if err == nil || done.Resealed != 1 || done.Refused != 2 {
		t.Fatalf("a value that cannot be opened must fail the rotation, and stop no other: %+v, %v", done, err)
	}
	if got, err := s.Reveal(t.Context(), old.ID, "openai", user.AuditEntry{}); err != nil || got.Reveal() != "sk-live-Ünïcödé-🔑" {
		t.Fatalf("the old function's value: %v", err)
	}
	if _, err := s.Reveal(t.Context(), latin.ID, "openai", user.AuditEntry{}); !errors.Is(err, vault.ErrNotText) {
		t.Errorf("a value that is no text: %v", err)
	}
	if !strings.Contains(log.String(), broken.ID.String()) || !strings.Contains(log.String(), latin.ID.String()) {
		t.Fatalf("the log must name the refused values' users:\n%s", log.String())
	}
}

// oldBox seals what the old function could have sealed, under the key one.
func oldBox(t *testing.T, plain string) string {
	t.Helper()
	raw, err := hex.DecodeString(keyOne)
	if err != nil {
		t.Fatal(err)
	}
	nonce := [24]byte{1}
	return base64.StdEncoding.EncodeToString(secretbox.Seal(nonce[:], []byte(plain), &nonce, (*[32]byte)(raw)))
}

func set(t *testing.T, url string, u *user.User, sealed string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "UPDATE credentials SET sealed = $1 WHERE user_id = $2", sealed, u.ID); err != nil {
		t.Fatal(err)
	}
}

// TestRotateWhileUsersChange races rotations to and fro with updates: no change and no
// secret may be lost, and what a user shows must be what is stored.
func TestRotateWhileUsersChange(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var logOne, logTwo bytes.Buffer
	services := []*admin.Service{withKeys(t, url, "one", &logOne), withKeys(t, url, "two", &logTwo)}
	u := createWithSecret(t, services[0], "raced", "sk-the-first-secret")
	var all sync.WaitGroup
	for _, s := range services {
		all.Go(func() {
			for range 30 {
				if _, err := s.Rotate(t.Context(), func(admin.Rotation) {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const writers, rounds = 4, 15
	for w := range writers {
		all.Go(func() {
			for i := range rounds {
				body := fmt.Appendf(nil, `{"metadata":{"w%d-%d":"x"},"credentials":{"p%d":"sk-written-by-%d-%d"}}`, w, i, w, w, i)
				change, err := user.ParseUpdate(body)
				if err == nil {
					_, err = services[w%2].Apply(t.Context(), user.Command{Change: change, User: user.Ref{ID: u.ID}})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got, err := services[0].Get(t.Context(), user.Ref{ID: u.ID})
	if err != nil || got.Version != 1+writers*rounds || bytes.Count(got.Metadata, []byte(`"x"`)) != writers*rounds {
		t.Fatalf("a change was lost: %+v, %v", got, err)
	}
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, known, err := db.Begin(t.Context(), store.Wait, &store.Wanted{Users: []user.Ref{{ID: u.ID}}, Seals: true})
	if err != nil {
		t.Fatal(err)
	}
	tx.Rollback()
	seals := known.Seals[u.ID]
	for _, c := range got.Credentials {
		if vault.KeyID(seals[c.Provider]) != c.KeyID {
			t.Errorf("%s shows key %q and is sealed by %q", c.Provider, c.KeyID, vault.KeyID(seals[c.Provider]))
		}
	}
	for w := range writers {
		var plain secret.Text
		if plain, err = services[1].Reveal(t.Context(), u.ID, fmt.Sprintf("p%d", w), user.AuditEntry{}); err != nil || plain.Reveal() != fmt.Sprintf("sk-written-by-%d-%d", w, rounds-1) {
			t.Errorf("writer %d's last secret: %v", w, err)
		}
	}
}

// TestARotationHoldsNobodyWhileItWaits rotates while another session holds one user: those with it in
// the batch can be changed, the user itself is rotated once it is free, and given up after a while.
func TestARotationHoldsNobodyWhileItWaits(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var log bytes.Buffer
	before, after := withKeys(t, url, "one", &log), withKeysWithin(t, url, "two", &log, 50*time.Millisecond)
	free, held := createWithSecret(t, before, "free", "sk-secret-number-1"), createWithSecret(t, before, "held", "sk-secret-number-2")
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	waits := make(chan admin.Rotation)
	var rotated sync.WaitGroup
	err = hold(t, db, user.Ref{ID: held.ID}, func() error {
		after.RotateWithin(time.Millisecond)
		if done, err := after.Rotate(t.Context(), func(admin.Rotation) {}); err == nil || done.Resealed != 1 || done.Held != 1 || !strings.Contains(err.Error(), held.ID.String()) {
			t.Errorf("%+v, %v", done, err)
		}
		after.RotateWithin(time.Hour)
		rotated.Go(func() {
			done, err := after.Rotate(t.Context(), func(r admin.Rotation) {
				if r.Held > 0 {
					waits <- r
				}
			})
			close(waits)
			if err != nil || done.Total != 1 || done.Resealed != 1 || done.Held != 0 {
				t.Errorf("%+v, %v", done, err)
			}
		})
		<-waits
		apply(t, before, once(update(t, "", user.Ref{ID: free.ID}, `{"name":"M"}`)))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for range waits { // until it is done
	}
	rotated.Wait()
}

// TestARotationQueuesForABusyUser: who only looked whether the row is free might never see it so, where
// sessions take turns at it.
func TestARotationQueuesForABusyUser(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var log bytes.Buffer
	hot := createWithSecret(t, withKeys(t, url, "one", &log), "hot", "sk-secret-number-1")
	after := withKeys(t, url, "two", &log)
	_, db := running(t, url)
	rotated := make(chan error, 1)
	err := hold(t, db, user.Ref{ID: hot.ID}, func() error {
		go func() {
			done, err := after.Rotate(t.Context(), func(admin.Rotation) {})
			if done.Resealed != 1 {
				t.Errorf("%+v", done)
			}
			rotated <- err
		}()
		for end := time.Now().Add(9 * time.Second); lockWaits(t, db) == 0; runtime.Gosched() {
			if time.Now().After(end) {
				return errors.New("the rotation does not wait for the row")
			}
		}
		return nil
	})
	if err := errors.Join(err, <-rotated); err != nil {
		t.Error(err)
	}
}
