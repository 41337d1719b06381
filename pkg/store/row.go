package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// userColumns are listed in every statement: a cached plan breaks when a migration adds a
// column to a star. decodeUser reads them in this order.
const userColumns = `id, tag, name, email, role, status, models, requests_per_minute, tokens_per_minute,
	monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at`

// queryUsers runs a statement that returns users.
func queryUsers(ctx context.Context, on querier, query string, args []any) ([]*user.User, error) {
	var users []*user.User
	err := each(ctx, on, query, args, func(values [][]byte) error {
		u, err := decodeUser(values)
		users = append(users, u)
		return err
	})
	return users, err
}

// row is a user with the values of its optional fields beside it: one allocation for all.
type row struct {
	user.User
	email, externalID        string
	requests, tokens, budget int64
}

// decodeUser reads a row of userColumns. It is by hand since it is the hot path of every
// listing: scanning by reflection took twice the time of all else.
func decodeUser(v [][]byte) (*user.User, error) {
	if len(v) != 16 || len(v[0]) != 16 {
		return nil, fmt.Errorf("a row of %d columns is no user", len(v))
	}
	r := new(row)
	r.User = user.User{ID: uuid.UUID(v[0]), Tag: string(v[1]), Name: string(v[2]), Email: optionalText(v[3], &r.email),
		Role: known(v[4], user.Member, user.Admin, user.Viewer, user.Service), Status: known(v[5], user.Active, user.Suspended), Models: texts(v[6]),
		Limits: user.Limits{RequestsPerMinute: optionalInteger(v[7], &r.requests), TokensPerMinute: optionalInteger(v[8], &r.tokens),
			MonthlyBudgetUSD: (*user.Cents)(optionalInteger(v[9], &r.budget))},
		Metadata: append([]byte(nil), v[11]...), ExternalID: optionalText(v[12], &r.externalID), Version: integer(v[13]),
		CreatedAt: timestamp(v[14]), UpdatedAt: timestamp(v[15])}
	if string(v[10]) == "[]" { // most users: spare the decoder
		return &r.User, nil
	}
	return &r.User, json.Unmarshal(v[10], &r.Credentials)
}

// known spares a copy of a text that is one of few.
func known[T ~string](v []byte, values ...T) T {
	for _, value := range values {
		if string(v) == string(value) {
			return value
		}
	}
	return T(v)
}

func optionalText(v []byte, to *string) *string {
	if v == nil {
		return nil
	}
	*to = string(v)
	return to
}

// texts reads a text[] without a NULL in it: how many dimensions, two words that tell
// nothing new, its length and lower bound, then each element after its length. An empty
// one has no dimension.
func texts(v []byte) []string {
	if v == nil {
		return nil
	}
	if word(v) == 0 {
		return []string{}
	}
	found := make([]string, word(v[12:]))
	v = v[20:]
	for i := range found {
		size := word(v)
		found[i], v = string(v[4:4+size]), v[4+size:]
	}
	return found
}

func word(v []byte) int { return int(binary.BigEndian.Uint32(v)) }

func boolean(v []byte) bool { return v[0] == 1 }

func integer(v []byte) int64 { return int64(binary.BigEndian.Uint64(v)) } //nolint:gosec // two's complement on the wire

func optionalInteger(v []byte, to *int64) *int64 {
	if v == nil {
		return nil
	}
	*to = integer(v)
	return to
}

// epoch is where PostgreSQL counts microseconds from: the year 2000.
const epoch = 946_684_800_000_000

func timestamp(v []byte) time.Time { return time.UnixMicro(epoch + integer(v)).UTC() }

// writeArgs are the first arguments of the statements that write a user and its event.
func writeArgs(u *user.User, e user.Event) []any {
	return prepared([16]byte(u.ID), u.Tag, u.Name, user.Fold(u.Name), u.Email, foldedEmail(u),
		string(u.Role), string(u.Status), u.Models,
		u.Limits.RequestsPerMinute, u.Limits.TokensPerMinute, (*int64)(u.Limits.MonthlyBudgetUSD),
		string(user.AppendCredentials(nil, u.Credentials)), string(u.Metadata), u.ExternalID,
		u.Version, u.CreatedAt, u.UpdatedAt, user.Facets(u),
		[16]byte(e.ID), string(e.Type), e.Actor, e.Cause, string(e.Data), string(e.Changes), Partition(u.ID))
}

func foldedEmail(u *user.User) *string {
	if u.Email == nil {
		return nil
	}
	folded := user.Fold(*u.Email)
	return &folded
}

// Partitions is the number of parts that the outbox is split into. Events of one user are
// in one part, which one process at a time sends.
const Partitions = 16

// Partition is the part of the outbox that a user's events are in.
func Partition(id uuid.UUID) int16 { return int16(id[15] % Partitions) }
