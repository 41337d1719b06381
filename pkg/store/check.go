package store

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"aiadmin/pkg/access"
	"aiadmin/pkg/gather"
	"aiadmin/pkg/user"
)

// Looked is what the database holds about one access question.
type Looked struct {
	access.Found
	Sealed string     // the credential that the question asks for; empty when none is held
	Used   *time.Time // when the key was last noted as used; nil for never
}

// checkRow is a row of the statement that answers a check.
type checkRow struct {
	place  int     // of the question among those asked
	sealed *string // the credential asked for
	user   userRow // its checkedOfUser
	former bool    // found by the secret before the last rotation
	key    keyRow  // its checkedOfKey
}

func (r *checkRow) looked(byKey bool) Looked {
	u, k := &r.user, &r.key
	l := Looked{Sealed: orEmpty(r.sealed), Used: k.LastUsedAt}
	l.Held = l.Sealed != ""
	l.Subject = &access.Subject{ID: u.ID, Tag: u.Tag, Role: user.Role(u.Role), Status: user.Status(u.Status), ExpiresAt: u.ExpiresAt,
		Models: u.Models, Version: u.Version, Limits: user.Limits{RequestsPerMinute: u.RequestsPerMinute,
			TokensPerMinute: u.TokensPerMinute, MonthlyBudgetUSD: (*user.Cents)(u.MonthlyBudgetCents)}}
	if byKey {
		l.Key = &access.Key{ID: k.ID, Disabled: k.Status != string(user.KeyActive), Models: k.Models, ExpiresAt: k.ExpiresAt,
			Former: r.former, FormerUntil: k.PreviousValidUntil}
	}
	return l
}

// The ways to find who a question is about: by a key's hash, or by one of a user's unique values.
const (
	byHash    = int(uniqueIndexes)
	checkWays = byHash + 1
)

// checking holds the statements of checks, by way and by number of questions, in powers of two as for
// lookups. Few are ever needed, so each is composed on first use.
type checking struct {
	texts    [checkWays][lookupPowers]func() string
	ofUser   []*schema.Field
	ofKey    []*schema.Field
	noteUses string
}

func composeChecking(db *bun.DB) checking {
	c := checking{ofUser: fieldsNamed[userRow](db, checkedOfUser), ofKey: fieldsNamed[keyRow](db, checkedOfKey)}
	for way := range c.texts {
		for power := range c.texts[way] {
			c.texts[way][power] = sync.OnceValue(func() string { return composeCheck(db, way, 1<<power) })
		}
	}
	free := db.NewSelect().Model((*keyRow)(nil)).Column("id").Where("k.id = ANY ($1::uuid[])").OrderExpr("k.id").For("UPDATE SKIP LOCKED")
	c.noteUses = db.NewUpdate().Model((*keyRow)(nil)).TableExpr("unnest($1::uuid[], $2::timestamptz[]) AS given(id, at)").
		Set("last_used_at = given.at").Where("k.id = given.id AND k.id IN (?)", free).
		Where("(k.last_used_at IS NULL OR k.last_used_at < date_trunc('hour', given.at, 'UTC'))").String()
	return c
}

// composeCheck composes the statement for a number of questions, each with a value and a provider.
func composeCheck(db *bun.DB, way, questions int) string {
	sqlType, condition := "text", bun.Safe("")
	switch way {
	case KeyID:
		sqlType = "uuid"
	case byHash:
		sqlType = "bytea"
	}
	places := make([]string, questions)
	for i := range places {
		places[i] = fmt.Sprintf("(%d, $%d::%s, $%d::text)", i, 2*i+1, sqlType, 2*i+2)
	}
	q := db.NewSelect().TableExpr("(VALUES ?) AS q(place, value, provider)", bun.Safe(strings.Join(places, ", ")))
	if way == byHash {
		q = q.Join("JOIN ? AS k ON k.hash = q.value OR k.previous_hash = q.value", bun.Ident("keys")).Join("JOIN users AS u ON u.id = k.user_id")
	} else {
		condition = bun.Safe("u." + uniqueColumns[way])
		q = q.Join("JOIN users AS u ON ? = q.value", condition)
	}
	q = q.Join("LEFT JOIN credentials AS c ON c.user_id = u.id AND c.provider = q.provider").
		ColumnExpr("q.place, c.sealed").Column(qualified("u", checkedOfUser)...)
	if way == byHash {
		q = q.ColumnExpr("k.hash <> q.value").Column(qualified("k", checkedOfKey)...)
	}
	return q.String()
}

func qualified(alias string, columns []string) []string {
	return sliceOf(len(columns), func(i int) string { return alias + "." + columns[i] })
}

func (c *checking) scan(rows pgx.Rows, byKey bool) (r checkRow, err error) {
	targets := append([]any{&r.place, &r.sealed}, targetsOf(&r.user, c.ofUser)...)
	if byKey {
		targets = append(append(targets, &r.former), targetsOf(&r.key, c.ofKey)...)
	}
	return r, rows.Scan(targets...)
}

// checks answers access questions. Questions that arrive while a statement is under way share the next
// one, see [lookups]. It is not a cache: a statement begins after every question that it answers.
type checks struct {
	store *Store
	queue gather.Queue[*checked]
}

// checked is a request's questions.
type checked = gather.Job[[]access.Question, []Looked]

// checkTime is how long a statement of checks may take before the database counts as away.
const checkTime = 5 * time.Second

func (c *checks) begin(s *Store) {
	c.store = s
	c.queue = gather.Queue[*checked]{Workers: lookupWorkers, Most: 1 << (lookupPowers - 1), Batch: c.answer}
}

// Look returns what the database holds about questions now, in their order. An error is
// [user.Unavailable] while the database is away, or the context's.
func (s *Store) Look(ctx context.Context, questions []access.Question) ([]Looked, error) {
	asked := gather.NewJob[[]access.Question, []Looked](ctx, questions)
	if len(questions) > s.checks.queue.Most { // gains little from sharing, and would delay the others
		go s.checks.answer([]*checked{asked})
	} else {
		s.checks.queue.Add(asked)
	}
	found, err := asked.Wait()
	return found, Translate(err)
}

func (c *checks) answer(asked []*checked) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	ctx, end := c.store.sharedSpan(ctx, "check access", len(asked), func(i int) context.Context { return asked[i].Context })
	defer end()
	found := make([][]Looked, len(asked))
	err := gather.Guarded(func() error { return c.read(ctx, asked, found) })
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = unavailable(err)
	}
	for i, a := range asked {
		a.Answer(found[i], err)
	}
}

// lookedFor is what a question is looked up by. Several questions may share one.
type lookedFor struct {
	value    any
	provider string
}

// targetOf looks for no credential of what cannot be a provider's name. Nobody holds one, and a name that is
// not UTF-8 would fail the statement for every question in it.
func targetOf(q *access.Question) (way int, t lookedFor) {
	provider := q.Provider
	if !user.IsProvider(provider) {
		provider = ""
	}
	if q.KeyHash != nil {
		return byHash, lookedFor{*q.KeyHash, provider}
	}
	index, value := KeyOf(q.Subject)
	if index == KeyID {
		return index, lookedFor{q.Subject.ID, provider}
	}
	return index, lookedFor{value, provider}
}

// read looks up the subjects of all questions, in one round trip.
func (c *checks) read(ctx context.Context, asked []*checked, found [][]Looked) error {
	var ways [checkWays][]lookedFor
	known := map[lookedFor]*Looked{}
	for _, a := range asked {
		for i := range a.Asked {
			way, t := targetOf(&a.Asked[i])
			if _, seen := known[t]; !seen {
				known[t] = &Looked{}
				ways[way] = append(ways[way], t)
			}
		}
	}
	if err := c.run(ctx, &ways, known); err != nil {
		return err
	}
	for i, a := range asked {
		found[i] = make([]Looked, len(a.Asked))
		for k := range a.Asked {
			_, t := targetOf(&a.Asked[k])
			found[i][k] = *known[t]
		}
	}
	return nil
}

func (c *checks) run(ctx context.Context, ways *[checkWays][]lookedFor, known map[lookedFor]*Looked) error {
	st := &c.store.statements().checking
	var p pipeline
	for way, targets := range ways {
		for len(targets) > 0 {
			n := min(len(targets), 1<<(lookupPowers-1))
			part := targets[:n]
			targets = targets[n:]
			p.query(st.texts[way][bits.Len(uint(n-1))](), checkArgs(part), func(rows pgx.Rows) error { //nolint:gosec // n is positive
				row, err := st.scan(rows, way == byHash)
				if err == nil && row.place < len(part) {
					*known[part[row.place]] = row.looked(way == byHash)
				}
				return err
			})
		}
	}
	conn, err := c.store.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return p.run(ctx, conn.Conn())
}

// checkArgs returns a statement's arguments, padded with the last question.
func checkArgs(targets []lookedFor) []any {
	n := 1 << bits.Len(uint(len(targets)-1)) //nolint:gosec // there is at least one
	args := make([]any, 0, 2*n)
	for i := range n {
		t := targets[min(i, len(targets)-1)]
		switch value := t.value.(type) {
		case access.Hash:
			args = append(args, value[:], t.provider)
		case uuid.UUID:
			args = append(args, [16]byte(value), t.provider)
		default:
			args = append(args, value, t.provider)
		}
	}
	return args
}

// NoteUses records when keys were used, at most once per key and clock hour. Keys that another session has
// locked are skipped: the time is approximate.
func (s *Store) NoteUses(ctx context.Context, uses map[uuid.UUID]time.Time) error {
	ids, times := make([][16]byte, 0, len(uses)), make([]time.Time, 0, len(uses))
	for id, at := range uses {
		ids, times = append(ids, id), append(times, at)
	}
	_, err := s.pool.Exec(ctx, s.statements().checking.noteUses, prepared(ids, times)...)
	return Translate(err)
}
