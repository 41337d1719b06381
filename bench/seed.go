package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/access"
	"aiadmin/pkg/user"
)

// Everything about a made-up user follows from a number of twelve digits, so that a request or a
// statement can be aimed at another user by overwriting digits.
const (
	firstUser    int64 = 100_000_000_000
	firstCreated int64 = 200_000_000_000
	firstVictim  int64 = 300_000_000_000
	firstFresh   int64 = 500_000_000_000
)

func idOf(n int64) uuid.UUID {
	return uuid.MustParse("00000000-0000-7000-8000-" + strconv.FormatInt(n, 10))
}

// alike is how many users of the table, the first ones, differ in nothing but their number:
// a statement that was captured for one of them fits any other.
func (b *bench) alike() int64 { return int64(b.options.Users) / 10 }

var (
	givenNames  = []string{"Ada", "Grace", "Edsger", "Barbara", "Alan", "Frances", "Donald", "Radia", "Tony", "Margaret"}
	familyNames = []string{"Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing", "Allen", "Knuth", "Perlman", "Hoare", "Hamilton"}
	teams       = []string{"research", "platform", "support", "sales", "finance", "legal", "data", "security"}
	roles       = []user.Role{user.Admin, user.Member, user.Member, user.Member, user.Member, user.Member, user.Viewer,
		user.Viewer, user.Service}
)

// person makes the user of a number: the same in every run.
func (b *bench) person(n int64, at time.Time) *user.User {
	digits := strconv.FormatInt(n, 10)
	email := "u." + digits + "@example.com"
	u := &user.User{ID: idOf(n), Tag: "u-" + digits, Name: "Ada Lovelace " + digits, Email: &email, Role: user.Member,
		Status: user.Active, Metadata: []byte(`{"team":"research"}`), Version: 1, CreatedAt: at, UpdatedAt: at}
	if n < firstUser+b.alike() || n >= firstCreated {
		return u
	}
	random := rand.New(rand.NewPCG(uint64(n), 5)) //nolint:gosec // made-up people need no secrecy
	u.Name = pick(random, givenNames) + " " + pick(random, familyNames) + " " + digits
	u.Role = pick(random, roles)
	if random.IntN(20) == 0 {
		u.Status = user.Suspended
	}
	if random.IntN(3) == 0 {
		u.Models = []string{"gpt-5*", "claude-*", "model-" + strconv.Itoa(random.IntN(50))}[:1+random.IntN(3)]
	}
	if random.IntN(4) == 0 {
		u.Email = nil
	}
	u.Metadata = fmt.Appendf(nil, `{"costCenter":"%d","team":"%s"}`, random.IntN(200), pick(random, teams))
	return u
}

func pick[T any](random *rand.Rand, values []T) T { return values[random.IntN(len(values))] }

// seed fills the table and has it analyzed.
func (b *bench) seed(ctx context.Context) error {
	progress("loading %d users by COPY", b.options.Users)
	if _, err := b.db.Exec(ctx, "SET ai_admin.forms = '1'"); err != nil { // what is copied has its forms
		return err
	}
	if err := b.copyUsers(ctx, firstUser, int64(b.options.Users), time.Now().Add(-720*time.Hour)); err != nil {
		return err
	}
	for _, statement := range []string{"VACUUM ANALYZE users", "CHECKPOINT"} {
		if _, err := b.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	syscall.Sync() // or the disk would still be busy with the load while commits are measured
	return nil
}

var userColumns = []string{"id", "tag", "name", "name_key", "email", "email_key", "role", "status", "models", "credentials",
	"metadata", "version", "created_at", "updated_at", "facets", "user_name_key", "search"}

// copyUsers loads count users from a number on, created a millisecond after each other.
func (b *bench) copyUsers(ctx context.Context, first, count int64, at time.Time) error {
	rows := pgx.CopyFromSlice(int(count), func(i int) ([]any, error) {
		u := b.person(first+int64(i), user.Timestamp(at.Add(time.Duration(i)*time.Millisecond)))
		u.SetForms()
		var emailKey *string
		if u.Email != nil {
			emailKey = &u.EmailKey
		}
		return []any{u.ID, u.Tag, u.Name, user.SearchForm(u.Name), u.Email, emailKey, string(u.Role), string(u.Status), u.Models,
			"[]", string(u.Metadata), u.Version, u.CreatedAt, u.UpdatedAt, user.Facets(u), u.UserNameKey, user.SearchText(u)}, nil
	})
	_, err := b.db.CopyFrom(ctx, pgx.Identifier{"users"}, userColumns, rows)
	return err
}

// loadVictims loads users to be deleted, until at least count are there.
func (b *bench) loadVictims(ctx context.Context, count int64) error {
	first := b.loaded
	b.loaded = max(b.loaded, b.deleted.Load()+count)
	return b.copyUsers(ctx, firstVictim+first, b.loaded-first, time.Now())
}

// loadKeys gives the first users a key each, and returns an operation's request for each of the keys.
func (b *bench) loadKeys(ctx context.Context, o operation) (each []template, err error) {
	rows := pgx.CopyFromSlice(int(min(1000, b.alike())), func(i int) ([]any, error) {
		secret := access.NewSecret()
		hash := secret.Hash()
		key := secret.Text().Reveal()
		o.header = "X-AI-Gateway-Token: " + b.token + "\r\nX-API-Key: " + key + "\r\nX-AI-Model: gpt-5\r\n"
		each = append(each, b.request(o))
		now := time.Now() // as the last use, too: the service would write it down otherwise
		return []any{user.NewID(), idOf(firstUser + int64(i)), now, now, hash[:], "active", secret.Hint(), "bench", "bench"}, nil
	})
	columns := []string{"id", "user_id", "created_at", "last_used_at", "hash", "status", "hint", "name", "created_by"}
	if _, err = b.db.CopyFrom(ctx, pgx.Identifier{"keys"}, columns, rows); err == nil {
		_, err = b.db.Exec(ctx, "VACUUM ANALYZE keys")
	}
	return each, err
}
