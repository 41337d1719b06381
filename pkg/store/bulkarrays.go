package store

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"aiadmin/pkg/user"
)

// insertUsers and updateUsers are the statements of single changes over arrays: the same
// columns, each parameter an array. An array of arrays must be rectangular, so those come
// as text.
var insertUsers, updateUsers = bulkStatements()

func bulkStatements() (string, string) {
	columns := strings.Split(strings.Join(strings.Fields(insertColumns), " "), ", ")
	var given, arrays []string
	for i, value := range strings.Split(strings.Join(strings.Fields(insertValues), " "), ", ") {
		_, sqlType, _ := strings.Cut(value, "::")
		element, cast := sqlType, ""
		if strings.HasSuffix(sqlType, "[]") {
			element, cast = "text", "::"+sqlType
		}
		arrays = append(arrays, "$"+strconv.Itoa(i+1)+"::"+element+"[]")
		given = append(given, "given."+columns[i]+cast)
	}
	all := strings.Join(columns, ", ")
	from := " FROM unnest(" + strings.Join(arrays, ", ") + ") AS given(" + all + ")"
	values := strings.Join(given, ", ")
	return "INSERT INTO users (" + all + ") SELECT " + values + from,
		"UPDATE users SET (" + all + ", feed_xid) = ROW(" + values + ", greatest(users.feed_xid, feed_xid()))" + from + " WHERE users.id = given.id"
}

// userArrays are the arguments of insertUsers and updateUsers.
func userArrays(users []*user.User) []any {
	return []any{
		column(users, func(u *user.User) pgtype.UUID { return uuidOf(u.ID) }),
		column(users, func(u *user.User) string { return u.Tag }),
		column(users, func(u *user.User) string { return u.Name }),
		column(users, func(u *user.User) string { return user.Fold(u.Name) }),
		column(users, func(u *user.User) *string { return u.Email }),
		column(users, foldedEmail),
		column(users, func(u *user.User) string { return string(u.Role) }),
		column(users, func(u *user.User) string { return string(u.Status) }),
		column(users, func(u *user.User) *string { return arrayText(u.Models) }),
		column(users, func(u *user.User) *int64 { return u.Limits.RequestsPerMinute }),
		column(users, func(u *user.User) *int64 { return u.Limits.TokensPerMinute }),
		column(users, func(u *user.User) *int64 { return (*int64)(u.Limits.MonthlyBudgetUSD) }),
		column(users, func(u *user.User) []byte { return user.AppendCredentials(nil, u.Credentials) }),
		column(users, func(u *user.User) []byte { return u.Metadata }),
		column(users, func(u *user.User) *string { return u.ExternalID }),
		column(users, func(u *user.User) int64 { return u.Version }),
		column(users, func(u *user.User) time.Time { return u.CreatedAt }),
		column(users, func(u *user.User) time.Time { return u.UpdatedAt }),
		column(users, func(u *user.User) *string { return arrayText(user.Facets(u)) }),
	}
}

// uuidOf spares pgx the search for how to encode an id, which takes longer than the rest.
func uuidOf(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

func column[R, V any](rows []R, value func(R) V) []V {
	values := make([]V, len(rows))
	for i := range rows {
		values[i] = value(rows[i])
	}
	return values
}

// arrayText writes an array as PostgreSQL reads it from text; nil is NULL.
func arrayText(values []string) *string {
	if values == nil {
		return nil
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, value := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for _, c := range []byte(value) {
			if c == '"' || c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	text := b.String()
	return &text
}
