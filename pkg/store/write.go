package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"aiadmin/pkg/user"
)

// Tx is a transaction that carries out a batch of changes, in two round trips: Begin learns and locks what
// they are about, Commit writes what came of them. Where a user is unknown or held, learning takes a second
// one. Nothing is changed before Commit, and Rollback ends a transaction in whatever state.
type Tx struct {
	store   *Store
	conn    *pgx.Conn
	release func() // gives the connection back
	next    pipeline
}

// Mode is how a transaction learns about the users that it will change.
type Mode int

const (
	// Blind learns nothing: Commit fails if anything is taken. It is for creations alone.
	Blind Mode = iota
	// Skip locks the users that no other session has locked, and reports the others as held.
	Skip
	// Wait waits for locked users, as long as the store's patience.
	Wait
)

// changes bounds how many connections changes hold at once. A few are left to reads, which go on
// while changes wait for a locked row.
type changes struct {
	places        chan struct{}
	waits, waited atomic.Int64 // how often, and how many nanoseconds, a change waited for a place
}

// leftToReads is how many connections changes never take, unless the pool has no more than that.
const leftToReads = 2

func (c *changes) begin(connections int) {
	c.places = make(chan struct{}, max(1, connections-leftToReads))
}

// ChangeConnections returns how many connections changes may hold at once.
func (s *Store) ChangeConnections() int { return cap(s.changes.places) }

func (c *changes) enter(ctx context.Context) error {
	select {
	case c.places <- struct{}{}:
		return nil
	default:
	}
	c.waits.Add(1)
	defer func(begun time.Time) { c.waited.Add(int64(time.Since(begun))) }(time.Now())
	select {
	case c.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *changes) leave() { <-c.places }

// Begin starts a transaction and learns what is wanted. The caller always ends it with Rollback,
// even after Commit.
func (s *Store) Begin(ctx context.Context, mode Mode, wanted *Wanted) (*Tx, *Known, error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	tx.next.exec("BEGIN")
	known, err := tx.learn(ctx, mode, wanted)
	if err != nil {
		tx.Rollback()
		return nil, nil, Translate(err)
	}
	return tx, known, nil
}

// begin waits for a connection. The transaction starts with its first statements.
func (s *Store) begin(ctx context.Context) (*Tx, error) {
	if err := s.changes.enter(ctx); err != nil {
		return nil, Translate(err)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		s.changes.leave()
		return nil, Translate(err)
	}
	return &Tx{store: s, conn: conn.Conn(), release: func() { conn.Release(); s.changes.leave() }}, nil
}

// Write writes users without events, for changes that could not be written together with later ones.
func (tx *Tx) Write(ctx context.Context, w *Writes) error {
	tx.write(w)
	return Translate(tx.next.run(ctx, tx.conn))
}

// Commit writes users and records and ends the transaction. If [RolledBack] is true for the error,
// nothing was changed.
func (tx *Tx) Commit(ctx context.Context, w *Writes, records []Record) error {
	tx.write(w)
	tx.record(records)
	tx.audit(records)
	tx.next.exec("COMMIT")
	return Translate(tx.next.run(ctx, tx.conn))
}

const rollbackTime = 5 * time.Second

// Rollback undoes what is not committed and releases the connection. A connection that fails to roll
// back is closed.
func (tx *Tx) Rollback() {
	defer tx.release()
	if tx.conn.IsClosed() || tx.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
	defer cancel()
	if _, err := tx.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = tx.conn.Close(ctx)
	}
}

// Writes holds changes to users. Their order does not matter, except that deletions come first: a
// user may take over a deleted user's tag.
type Writes struct {
	Delete         []uuid.UUID
	Update, Insert []*user.User
	Seal           []Seal
	Claimed        []ClaimedSecret // replace the secrets that claims keep, where they are the former ones
	Keys           KeyWrites
}

// Seal is the sealed value of a user's credential for a provider; an empty one removes it.
type Seal struct {
	User     *user.User
	Provider string
	Sealed   string
}

// KeyWrites are changes to users' API keys.
type KeyWrites struct {
	Insert, Update []UserKey
	Delete         []uuid.UUID
}

// UserKey is an API key and its user's id.
type UserKey struct {
	UserID uuid.UUID
	user.Key
}

// Record is an event to append to the log, and the claim that it answers.
type Record struct {
	UserID uuid.UUID   // whom the command is about
	Event  *user.Event // nil: the command changed nothing
	Claim  *user.Claim // nil: the command brought none
	// Expires is the end of the claim, and Secret the sealed secret that is kept with it, empty for none.
	Expires time.Time
	Secret  string
	// Audit are the entries of the audit log that tell of the command.
	Audit []user.AuditEntry
}

// writing holds the composed statements that change tables, with the fields of their parameters.
type writing struct {
	insertUsers, updateUsers, deleteUsers string
	users                                 []*schema.Field

	storeSeals, dropSeals string
	seals                 []*schema.Field

	insertKeys, updateKeys, deleteKeys string
	keys                               []*schema.Field

	formed  string // removes users from the list of those without forms
	release string // clears the forms of users, for others of the same transaction

	record         string
	events, claims []*schema.Field

	claimed       string // replaces secrets
	claimedFields []*schema.Field
}

func composeWriting(db *bun.DB) writing {
	var w writing
	w.users = fieldsOf[userRow](db)
	w.insertUsers = insertGiven[userRow](db, w.users, 1).String()
	w.updateUsers = updateGiven[userRow](db, w.users, w.users[1:]).Where("u.id = given.id").String()
	w.deleteUsers = db.NewDelete().Model((*userRow)(nil)).Where("id = ANY ($1::uuid[])").String()

	w.seals = fieldsOf[credentialRow](db)
	w.storeSeals = insertGiven[credentialRow](db, w.seals, 1).
		On("CONFLICT (user_id, provider) DO UPDATE").Set("sealed = excluded.sealed").String()
	w.dropSeals = db.NewDelete().Model((*credentialRow)(nil)).TableExpr(given(w.seals[:2], 1)).
		Where("c.user_id = given.user_id AND c.provider = given.provider").String()

	w.keys = fieldsOf[keyRow](db, "previous_hash", "last_used_at") // which the database has
	w.insertKeys = insertGiven[keyRow](db, w.keys, 1).String()
	w.updateKeys = updateGiven[keyRow](db, w.keys, fieldsOf[keyRow](db, "id", "hash", "previous_hash", "last_used_at")).
		Set("hash = coalesce(given.hash, k.hash)"). // without one, the key keeps its secret
		Set("previous_hash = CASE WHEN given.previous_valid_until IS NULL THEN NULL WHEN given.hash IS NULL THEN k.previous_hash ELSE k.hash END").
		Where("k.id = given.id").String()
	w.deleteKeys = db.NewDelete().Model((*keyRow)(nil)).Where("id = ANY ($1::uuid[])").String()
	w.release = db.NewUpdate().Model((*userRow)(nil)).Set("email_key = NULL, user_name_key = NULL").Where("id = ANY ($1::uuid[])").String()
	w.claimedFields = fieldsOf[claimRow](db, "digest", "user_id", "event_id", "expires_at")
	w.claimed = updateGiven[claimRow](db, w.claimedFields, w.claimedFields[1:]).Where("c.key = given.key AND c.secret = ($3::text[])[given.n]").String()
	w.formed = db.NewDelete().Model((*unformedRow)(nil)).Where("user_id = ANY ($1::uuid[])").String()
	w.composeRecord(db)
	return w
}

// composeRecord composes the statement that appends events in their order, queues them to be sent, and takes
// claims. In the feed, an event comes after the user's last one, even after the deletion of a former user
// with the same id. A transaction has its id before it gets a row's lock, so ids alone would not give that
// order.
func (w *writing) composeRecord(db *bun.DB) {
	w.events, w.claims = fieldsOf[EventRow](db, "seq", "xid"), fieldsOf[claimRow](db)
	event := db.NewInsert().Model((*EventRow)(nil)).Column(append([]string{"xid"}, columnsOf(w.events)...)...).
		TableExpr("(SELECT greatest(feed_xid(), (?)) AS xid, given.* FROM ? ORDER BY n) AS given",
			db.NewSelect().Model((*EventRow)(nil)).Column("xid").Where("e.user_id = given.user_id").OrderExpr("e.seq DESC").Limit(1),
			bun.Safe(given(w.events, 1))).
		Returning("id, seq, user_id, type")
	queued := db.NewInsert().Model((*outboxRow)(nil)).Column("partition", "seq", "event_id", "user_id").
		TableExpr("(SELECT get_byte(uuid_send(user_id), 15) % ? AS partition, seq, id AS event_id, user_id FROM event) AS given", Partitions)
	erasure := db.NewInsert().Model((*erasureRow)(nil)).Column("user_id", "seq").
		TableExpr("(SELECT user_id, seq FROM event WHERE type = ?) AS given", string(user.Deleted))
	w.record = insertGiven[claimRow](db, w.claims, 1+len(w.events)).
		With("event", event).With("queued", queued).With("erasure", erasure).String()
}

func (tx *Tx) write(w *Writes) {
	st := &tx.store.statements().writing
	if len(w.Delete) > 0 {
		tx.next.exec(st.deleteUsers, w.Delete)
	}
	if len(w.Update) > 0 {
		tx.next.exec(st.updateUsers, arrays(st.users, rowsOf(w.Update, rowOf))...)
	}
	if len(w.Insert) > 0 {
		tx.next.exec(st.insertUsers, arrays(st.users, rowsOf(w.Insert, rowOf))...)
	}
	tx.seal(w.Seal)
	if len(w.Claimed) > 0 {
		rows := rowsOf(w.Claimed, func(c ClaimedSecret) claimRow { return claimRow{Key: c.Key, Secret: &c.Sealed} })
		former := rowsOf(w.Claimed, func(c ClaimedSecret) string { return c.Former })
		tx.next.exec(st.claimed, append(arrays(st.claimedFields, rows), former)...)
	}
	tx.writeKeys(w.Keys)
}

func (tx *Tx) seal(seals []Seal) {
	st := &tx.store.statements().writing
	var stored, dropped []credentialRow
	for _, s := range seals {
		row := credentialRow{UserID: s.User.ID, Provider: s.Provider, Sealed: s.Sealed, UserCreatedAt: s.User.CreatedAt}
		if s.Sealed == "" {
			dropped = append(dropped, row)
		} else {
			stored = append(stored, row)
		}
	}
	if len(dropped) > 0 {
		tx.next.exec(st.dropSeals, arrays(st.seals[:2], dropped)...)
	}
	if len(stored) > 0 {
		tx.next.exec(st.storeSeals, arrays(st.seals, stored)...)
	}
}

func (tx *Tx) writeKeys(w KeyWrites) {
	st := &tx.store.statements().writing
	if len(w.Delete) > 0 {
		tx.next.exec(st.deleteKeys, w.Delete)
	}
	if len(w.Update) > 0 {
		tx.next.exec(st.updateKeys, arrays(st.keys, rowsOf(w.Update, keyRowOf))...)
	}
	if len(w.Insert) > 0 {
		tx.next.exec(st.insertKeys, arrays(st.keys, rowsOf(w.Insert, keyRowOf))...)
	}
}

func keyRowOf(k UserKey) keyRow {
	return keyRow{ID: k.ID, UserID: k.UserID, Name: k.Name, Hint: k.Hint, Hash: k.Hash, PreviousValidUntil: k.PreviousValidUntil,
		Models: k.Models, Status: string(k.Status), CreatedAt: k.CreatedAt, CreatedBy: k.CreatedBy, ExpiresAt: k.ExpiresAt}
}

// record appends the events of the batch to the log and takes its claims. It comes last, so
// that all row locks are held when the log gives the events their places.
func (tx *Tx) record(records []Record) {
	var events []EventRow
	var claims []claimRow
	for _, r := range records {
		if r.Event != nil {
			events = append(events, eventOf(r.Event))
		}
		if r.Claim != nil {
			claims = append(claims, claimOf(r))
		}
	}
	if len(events)+len(claims) > 0 {
		st := &tx.store.statements().writing
		tx.next.exec(st.record, append(arrays(st.events, events), arrays(st.claims, claims)...)...)
	}
}

func claimOf(r Record) claimRow {
	key := r.Claim.Key()
	row := claimRow{Key: key[:], Digest: r.Claim.Digest, ExpiresAt: r.Expires}
	if r.UserID != uuid.Nil {
		row.UserID = &r.UserID
	}
	if r.Event != nil {
		row.UserID, row.EventID = &r.Event.UserID, &r.Event.ID
	}
	if r.Secret != "" {
		row.Secret = &r.Secret
	}
	return row
}

func rowsOf[V, R any](values []V, row func(V) R) []R {
	rows := make([]R, len(values))
	for i := range values {
		rows[i] = row(values[i])
	}
	return rows
}

// Conflict reports whether a transaction failed because of a concurrent one, or because of something
// that a blind one did not look up. A new attempt may succeed.
func Conflict(err error) bool {
	const uniqueViolation, foreignKeyViolation, deadlock, serialization, divisionByZero = "23505", "23503", "40P01", "40001", "22012"
	code := state(err)
	return errors.Is(err, errInterfered) || slices.Contains([]string{uniqueViolation, foreignKeyViolation, deadlock, serialization, divisionByZero}, code) ||
		slices.ContainsFunc(uniqueNames[:], func(name string) bool { return duplicates[name] == err })
}

// errInterfered ends an attempt that missed a user, because another transaction gave the user its id or
// name meanwhile.
var errInterfered = fmt.Errorf("another transaction was in the way")

// Held reports whether a transaction gave up waiting for another session's lock.
func Held(err error) bool { return errors.Is(err, errHeld) || state(err) == lockTimeout }

// RolledBack reports whether a transaction's error guarantees that nothing was changed.
func RolledBack(err error) bool {
	kind := user.KindOf(err)
	return Conflict(err) || Held(err) || err != nil && kind != user.Unavailable && kind != user.Timeout && !errors.Is(err, context.Canceled)
}
