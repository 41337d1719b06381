package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// All that is made up about a user follows from a number of twelve digits, so that
// requests and statements can be aimed at users by overwriting digits in ready texts.
const (
	firstUser    int64 = 100_000_000_000
	firstCreated int64 = 200_000_000_000
	firstVictim  int64 = 300_000_000_000
	firstFresh   int64 = 500_000_000_000
)

// numbers hands out numbers that no request has used yet.
type numbers struct{ created, victims, fresh atomic.Int64 }

func (n *numbers) take(counter *atomic.Int64, first, count int64) int64 {
	return first + counter.Add(count) - count
}

func idOf(n int64) uuid.UUID {
	return uuid.MustParse("00000000-0000-7000-8000-" + strconv.FormatInt(n, 10))
}

// alike is how many users of the table, the first ones, differ by nothing but their
// number: a statement that was captured for one of them fits any other.
func (b *bench) alike() int64 { return int64(b.options.Users) / 10 }

var (
	givenNames  = []string{"Ada", "Grace", "Edsger", "Barbara", "Alan", "Frances", "Donald", "Radia", "Tony", "Margaret"}
	familyNames = []string{"Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing", "Allen", "Knuth", "Perlman", "Hoare", "Hamilton"}
	teams       = []string{"research", "platform", "support", "sales", "finance", "legal", "data", "security"}
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
	u.Role = pick(random, []user.Role{user.Admin, user.Member, user.Member, user.Member, user.Member, user.Member, user.Viewer, user.Viewer, user.Service})
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
	begun := time.Now()
	if err := b.copyUsers(ctx, firstUser, int64(b.options.Users), begun.Add(-720*time.Hour)); err != nil {
		return err
	}
	for _, statement := range []string{"VACUUM ANALYZE users", "CHECKPOINT"} {
		if _, err := b.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	syscall.Sync() // or the disk would still be busy with the load while commits are measured
	progress("loaded in %.1f s", time.Since(begun).Seconds())
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

// victims loads users to be deleted, and returns the first one's number.
func (b *bench) victims(ctx context.Context, count int64) (int64, error) {
	first := b.numbers.take(&b.numbers.victims, firstVictim, count)
	return first, b.copyUsers(ctx, first, count, time.Now())
}
