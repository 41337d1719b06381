package eventapi_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"aiadmin/pkg/user"
)

// oneStatement is the limit: the rows of 1,000 creations, with claim and event, written by
// one statement that checks nothing.
const oneStatement = `WITH given AS MATERIALIZED (
		SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bytea[])
			AS g(id, tag, email, event_id, data, changes, key)),
	claimed AS (INSERT INTO claims (key, user_id, event_id, expires_at) SELECT key, id, event_id, now() FROM given),
	changed AS (INSERT INTO users (id, tag, name, name_key, email, email_key, role, status, credentials, metadata, version,
			created_at, updated_at, facets)
		SELECT id, tag, 'A User', 'a user', email, email, 'member', 'active', '[]', '{}', 1, now(), now(), '{model=*}' FROM given),
	event AS (INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
		SELECT event_id, id, 1, 'ai.admin.user.created', now(), 'sender', tag, data::json, changes::json FROM given
		RETURNING id, seq, user_id)
	INSERT INTO outbox (partition, seq, event_id, user_id) SELECT get_byte(uuid_send(user_id), 15) % 16, seq, id, user_id FROM event`

// BenchmarkBatch measures a batch of 1,000 creations over HTTP beside the one statement,
// in turn, and reports how many times as long it takes.
func BenchmarkBatch(b *testing.B) {
	const events = 1000
	s := start(b)
	var ours, limit time.Duration
	n := 0
	for b.Loop() {
		tags := make([]string, events)
		for i := range tags {
			n++
			tags[i] = fmt.Sprint("user-", n)
		}
		ours += s.timeBatch(b, tags)
		for i := range tags {
			tags[i] = "plain-" + tags[i]
		}
		limit += s.timeStatement(b, tags)
	}
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "batch-ms")
	b.ReportMetric(float64(limit.Milliseconds())/float64(b.N), "statement-ms")
	b.ReportMetric(float64(ours)/float64(limit), "times-the-statement")
}

func (s *service) timeBatch(b *testing.B, tags []string) time.Duration {
	b.Helper()
	parts := make([]string, len(tags))
	for i, tag := range tags {
		parts[i] = envelope("ai.admin.user.create", tag, fmt.Sprintf(`{"tag":%q,"name":"A User","email":"%s@example.com"}`, tag, tag), nil)
	}
	body := "[" + strings.Join(parts, ",") + "]"
	begin := time.Now()
	got := s.post(b, structured(someEvent), body)
	took := time.Since(begin)
	if got.status != http.StatusOK || strings.Count(got.body, `"status":200`) != len(tags) {
		b.Fatalf("%d %.300s", got.status, got.body)
	}
	return took
}

func (s *service) timeStatement(b *testing.B, tags []string) time.Duration {
	b.Helper()
	var (
		ids, eventIDs         []pgtype.UUID
		emails, data, changes []string
		keys                  [][]byte
	)
	for _, tag := range tags {
		email := tag + "@example.com"
		u := &user.User{ID: user.NewID(), Tag: tag, Name: "A User", Email: &email, Role: user.Member, Status: user.Active,
			Metadata: []byte("{}"), Version: 1}
		e := user.Recorded(nil, u, user.Command{})
		key := sha256.Sum256([]byte(tag))
		ids, eventIDs = append(ids, pgtype.UUID{Bytes: u.ID, Valid: true}), append(eventIDs, pgtype.UUID{Bytes: e.ID, Valid: true})
		emails, keys = append(emails, email), append(keys, key[:])
		data, changes = append(data, string(e.Data)), append(changes, string(e.Changes))
	}
	begin := time.Now()
	_, err := s.db.DB().DB.ExecContext(b.Context(), oneStatement, pgx.QueryExecModeCacheStatement,
		ids, tags, emails, eventIDs, data, changes, keys)
	took := time.Since(begin)
	if err != nil {
		b.Fatal(err)
	}
	return took
}
