package store

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// userRow is a row of users as Bun scans it.
type userRow struct {
	bun.BaseModel `bun:"table:users,alias:u"`

	ID                 uuid.UUID `bun:"id,pk,type:uuid"`
	Tag                string    `bun:"tag"`
	Name               string    `bun:"name"`
	Email              *string   `bun:"email"`
	Role               string    `bun:"role"`
	Status             string    `bun:"status"`
	Models             []string  `bun:"models,array"`
	RequestsPerMinute  *int64    `bun:"requests_per_minute"`
	TokensPerMinute    *int64    `bun:"tokens_per_minute"`
	MonthlyBudgetCents *int64    `bun:"monthly_budget_cents"`
	Credentials        string    `bun:"credentials"`
	Metadata           string    `bun:"metadata"`
	ExternalID         *string   `bun:"external_id"`
	Version            int64     `bun:"version"`
	CreatedAt          time.Time `bun:"created_at"`
	UpdatedAt          time.Time `bun:"updated_at"`
}

// userColumns are listed in every statement: a cached plan breaks when a migration adds a
// column to a star.
const userColumns = `id, tag, name, email, role, status, models, requests_per_minute, tokens_per_minute,
	monthly_budget_cents, credentials, metadata, external_id, version, created_at, updated_at`

func (r *userRow) user() (*user.User, error) {
	u := &user.User{ID: r.ID, Tag: r.Tag, Name: r.Name, Email: r.Email,
		Role: user.Role(r.Role), Status: user.Status(r.Status), Models: r.Models,
		Limits: user.Limits{RequestsPerMinute: r.RequestsPerMinute, TokensPerMinute: r.TokensPerMinute,
			MonthlyBudgetUSD: (*user.Cents)(r.MonthlyBudgetCents)},
		Metadata: []byte(r.Metadata), ExternalID: r.ExternalID, Version: r.Version,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC()}
	if r.Credentials == "[]" { // most users: spare the decoder
		return u, nil
	}
	return u, json.Unmarshal([]byte(r.Credentials), &u.Credentials)
}

// writeArgs are the first arguments of the statements that write a user and its event.
func writeArgs(u *user.User, e user.Event) []any {
	return prepared(u.ID, u.Tag, u.Name, user.Fold(u.Name), u.Email, foldedEmail(u),
		string(u.Role), string(u.Status), u.Models,
		u.Limits.RequestsPerMinute, u.Limits.TokensPerMinute, (*int64)(u.Limits.MonthlyBudgetUSD),
		string(user.AppendCredentials(nil, u.Credentials)), string(u.Metadata), u.ExternalID,
		u.Version, u.CreatedAt, u.UpdatedAt, user.Facets(u),
		e.ID, string(e.Type), e.Actor, e.Cause, string(e.Data), string(e.Changes), Partition(u.ID))
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

// queryUsers runs a statement that returns users.
func (s *Store) queryUsers(ctx context.Context, on querier, query string, args []any) ([]*user.User, error) {
	rows, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, translate(err)
	}
	var found []userRow
	if err := s.db.ScanRows(ctx, rows, &found); err != nil {
		return nil, translate(err)
	}
	users := make([]*user.User, len(found))
	for i := range found {
		if users[i], err = found[i].user(); err != nil {
			return nil, err
		}
	}
	return users, nil
}
