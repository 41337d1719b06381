package store

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"aiadmin/pkg/user"
)

// Wanted is what a batch must read and lock before anything can be decided.
type Wanted struct {
	Claims []Claim     // one for each command
	Users  []user.Ref  // locked until the end of the transaction
	Keys   UniqueKeys  // whose holders are asked for
	Seals  bool        // also reads the users' sealed values
	Former []uuid.UUID // ids that creations bring: asks for a former user's last version
	// Fallbacks are users that may lose their userName or e-mail address. The transaction also asks who
	// holds the value that would then become their effective userName.
	Fallbacks []user.Ref
}

// Claim is a claim to look up, and to lock unless its command is refused anyway.
type Claim struct {
	*user.Claim // nil stands for none
	Refused     bool
}

// Known is what a batch has learned.
type Known struct {
	Claims  []ClaimState // as wanted
	Users   []*user.User // those that exist and are locked
	Held    []*user.User // those that exist and that somebody else holds: id and unique keys alone
	Holders Holders
	Seals   map[uuid.UUID]map[string]string // sealed values by user and provider
	Former  map[uuid.UUID]int64
	// Blind says that nothing was looked up: the write fails if anything is taken.
	Blind bool
}

// ClaimState is what is known of a claim.
type ClaimState struct {
	Busy   bool    // another delivery is being carried out at this moment
	Replay *Replay // the recorded answer; nil when the claim is free
}

// Replay is the recorded answer to a claim.
type Replay struct {
	Digest []byte
	UserID uuid.UUID   // [uuid.Nil]: not known
	Event  *user.Event // nil: the request changed nothing
	Secret string      // sealed; empty for none
}

// UniqueKeys holds unique values of users, by the index that keeps them unique, in the order in
// which an insert checks the indexes.
type UniqueKeys [uniqueIndexes][]string

// The indexes of [UniqueKeys].
const (
	KeyID = iota
	KeyTag
	KeyEmail // comparison form
	KeyExternalID
	KeyUserName // comparison form
	uniqueIndexes
)

// uniqueColumns are the columns of users by the indexes of [UniqueKeys].
var uniqueColumns = [uniqueIndexes]string{"id", "tag", "email_key", "external_id", "user_name_key"}

// KeysOf returns the user's own unique keys; an empty one is none.
func KeysOf(u *user.User) [uniqueIndexes]string {
	keys := [uniqueIndexes]string{KeyID: u.ID.String(), KeyTag: u.Tag, KeyEmail: u.EmailKey, KeyUserName: u.UserNameKey}
	if u.ExternalID != nil {
		keys[KeyExternalID] = *u.ExternalID
	}
	return keys
}

// KeyOf returns the unique key by which a reference names a user.
func KeyOf(r user.Ref) (index int, value string) {
	switch {
	case r.ID != uuid.Nil:
		return KeyID, r.ID.String()
	case r.Tag != "":
		return KeyTag, r.Tag
	case r.Email != "":
		return KeyEmail, r.Email
	case r.ExternalID != "":
		return KeyExternalID, r.ExternalID
	default:
		return KeyUserName, r.UserName
	}
}

// Holders is who has which unique key, by the indexes of [UniqueKeys].
type Holders [uniqueIndexes]map[string]uuid.UUID

// learning holds the composed statements by which a transaction learns.
type learning struct {
	lock, lockSkip        [2]string // by id alone, and by any reference
	present               [2]string
	users                 userDecoder
	seals                 [2]string
	sealFields            []*schema.Field
	holders               string
	fallbacks             [2]string
	former, unused        string
	takeLocks, reserve    string
	claims                string
	claimFields, ofEvents []*schema.Field
}

// byAny finds users by any of their unique keys: $1 ids, $2 tags, $3 e-mail addresses, $4 external
// ids, $5 userNames. Each condition has an index of its own.
const (
	byID  = "u.id = ANY ($1::uuid[])"
	byAny = byID + ` OR u.tag = ANY ($2::text[]) OR u.email_key = ANY ($3::text[]) AND u.email_key IS NOT NULL
		OR u.external_id = ANY ($4::text[]) AND u.external_id IS NOT NULL OR u.user_name_key = ANY ($5::text[]) AND u.user_name_key IS NOT NULL`
)

func composeLearning(db *bun.DB) learning {
	var l learning
	columns := columnsOf(fieldsOf[userRow](db, derivedColumns...))
	l.users = decoderOf(append(slices.Clip(columns), "groups"))
	l.sealFields = fieldsOf[credentialRow](db, "user_created_at")
	for i, condition := range []string{byID, byAny} {
		locking := func(how string) string {
			return db.NewSelect().Model((*userRow)(nil)).Column(columns...).ColumnExpr(groupsOf).Where(condition).OrderExpr("u.id").For(how).String()
		}
		l.lock[i], l.lockSkip[i] = locking("UPDATE"), locking("UPDATE SKIP LOCKED")
		l.present[i] = db.NewSelect().Model((*userRow)(nil)).Column(uniqueColumns[:]...).Where(condition).String()
		l.seals[i] = db.NewSelect().Model((*credentialRow)(nil)).Column(columnsOf(l.sealFields)...).
			Where("c.user_id IN (?)", db.NewSelect().Model((*userRow)(nil)).Column("id").Where(condition)).String()
		l.fallbacks[i] = db.NewSelect().Model((*userRow)(nil)).ColumnExpr("?::int, h.user_name_key, h.id", KeyUserName).
			Join("JOIN users AS h ON h.user_name_key IN (u.email_key, u.tag) AND h.user_name_key IS NOT NULL").Where(condition).String()
	}
	l.holders = composeHolders(db)
	l.former = db.NewSelect().Model((*EventRow)(nil)).Column("user_id", "version", "type").DistinctOn("user_id").
		Where("e.user_id = ANY ($1::uuid[])").OrderExpr("e.user_id, e.seq DESC").String()
	l.unused = failUnless("NOT EXISTS (SELECT FROM events WHERE user_id = ANY ($1::uuid[])) AND NOT EXISTS (SELECT FROM groups WHERE id = ANY ($1::uuid[]))")
	l.composeClaims(db)
	return l
}

// composeHolders gives each unique key a select of its own: joined by OR, the least selective would
// decide the plan for all. Groups hold their ids, too: the events of a user would be taken for a group's.
func composeHolders(db *bun.DB) string {
	arm := func(index int) *bun.SelectQuery {
		column := bun.Ident(uniqueColumns[index])
		q := db.NewSelect().Model((*userRow)(nil)).ColumnExpr("?::int, u.?::text, u.id", index, column)
		if index == KeyID {
			return q.Where("u.id = ANY ($1::text[]::uuid[])")
		}
		return q.Where("u.? = ANY ($?::text[]) AND u.? IS NOT NULL", column, index+1, column)
	}
	all := arm(0)
	for index := 1; index < uniqueIndexes; index++ {
		all = all.UnionAll(arm(index))
	}
	groups := db.NewSelect().Model((*groupRow)(nil)).ColumnExpr("?::int, g.id::text, g.id", KeyID).Where("g.id = ANY ($1::text[]::uuid[])")
	return all.UnionAll(groups).String()
}

// failUnless returns a statement that divides by zero unless a condition holds. It ends a blind transaction,
// which has sent all its statements before it sees a result.
func failUnless(condition string) string { return "SELECT 1 / (" + condition + ")::int" }

func (l *learning) composeClaims(db *bun.DB) {
	// Bun cannot express advisory locks. They are taken in order and without waiting: if another
	// delivery has a lock, the claim is busy.
	const ofLocks = " FROM unnest($1::bigint[]) WITH ORDINALITY AS l(lock, n) ORDER BY n"
	l.takeLocks = "SELECT pg_try_advisory_xact_lock(lock)" + ofLocks
	l.reserve = failUnless("pg_try_advisory_xact_lock(lock)") + ofLocks
	l.claimFields, l.ofEvents = fieldsOf[claimRow](db, "expires_at"), fieldsOf[EventRow](db, "seq", "xid", "changes")
	q := db.NewSelect().Model((*claimRow)(nil)).Column(columnsOf(l.claimFields)...).Join("LEFT JOIN events AS e ON e.id = c.event_id").Where("c.key = ANY ($1)")
	l.claims = q.Column(qualified("e", columnsOf(l.ofEvents))...).String()
}

// learn starts the transaction, and finds and locks what is wanted.
func (tx *Tx) learn(ctx context.Context, mode Mode, wanted *Wanted) (*Known, error) {
	known := &Known{Claims: make([]ClaimState, len(wanted.Claims)), Seals: map[uuid.UUID]map[string]string{},
		Former: map[uuid.UUID]int64{}, Blind: mode == Blind}
	for i := range known.Holders {
		known.Holders[i] = map[string]uuid.UUID{}
	}
	// Without a generic plan, the statement that records would take longer to plan than to run.
	tx.next.exec("SET LOCAL plan_cache_mode = force_generic_plan")
	claims := claimKeys(wanted.Claims)
	if mode == Blind { // sent together with the writes
		if len(claims.locks) > 0 {
			tx.next.exec(tx.store.statements().learning.reserve, claims.locks)
		}
		if len(wanted.Former) > 0 { // a version of such an id must go on from the last one
			tx.next.exec(tx.store.statements().learning.unused, wanted.Former)
		}
		return known, nil
	}
	tx.askClaims(claims, known)
	tx.askUsers(mode, wanted, known)
	tx.askHolders(wanted.Keys, known)
	if len(wanted.Fallbacks) > 0 {
		kind, args := references(wanted.Fallbacks)
		tx.queryHolders(tx.store.statements().learning.fallbacks[kind], args, known)
	}
	if len(wanted.Former) > 0 {
		tx.next.query(tx.store.statements().learning.former, []any{wanted.Former}, func(rows pgx.Rows) error {
			var id uuid.UUID
			var version int64
			var of user.EventType
			err := rows.Scan((*[16]byte)(&id), &version, (*string)(&of))
			if known.Former[id] = version; of.OfGroup() { // a deleted one's
				known.Holders[KeyID][id.String()] = id
			}
			return err
		})
	}
	if err := tx.next.run(ctx, tx.conn); err != nil {
		return nil, err
	}
	if err := tx.findHeld(ctx, wanted.Users, known); err != nil {
		return nil, err
	}
	if mode == Wait && len(known.Held) > 0 {
		return nil, errInterfered // others gave it its id or name while this transaction waited: only a later statement saw it
	}
	return known, nil
}

// references returns the arguments of byID or byAny.
func references(refs []user.Ref) (kind int, args []any) {
	args = argumentsOfAny(refs, UniqueKeys{})
	if ids, _ := args[0].([]uuid.UUID); len(ids) == len(refs) {
		return 0, args[:1]
	}
	return 1, args
}

// argumentsOfAny returns the arguments of byAny, for users who are named and for holders of keys.
func argumentsOfAny(refs []user.Ref, keys UniqueKeys) []any {
	ids := sliceOf(len(keys[KeyID]), func(i int) uuid.UUID { return uuid.MustParse(keys[KeyID][i]) })
	for index := range keys {
		keys[index] = append([]string{}, keys[index]...) // nil would be NULL
	}
	for _, r := range refs {
		if index, value := KeyOf(r); index == KeyID {
			ids = append(ids, r.ID)
		} else {
			keys[index] = append(keys[index], value)
		}
	}
	return []any{ids, keys[KeyTag], keys[KeyEmail], keys[KeyExternalID], keys[KeyUserName]}
}

// askUsers asks for users, keeps others from changing them, and asks for what is sealed for them.
func (tx *Tx) askUsers(mode Mode, wanted *Wanted, known *Known) {
	if len(wanted.Users) == 0 {
		return
	}
	st := &tx.store.statements().learning
	kind, args := references(wanted.Users)
	lock := st.lock[kind]
	if mode == Skip {
		lock = st.lockSkip[kind]
	}
	tx.next.query(lock, args, func(rows pgx.Rows) error {
		u, err := st.users.user(rows.RawValues())
		if err == nil {
			known.Users = append(known.Users, u)
		}
		return err
	})
	if !wanted.Seals {
		return
	}
	tx.next.query(st.seals[kind], args, func(rows pgx.Rows) error {
		var row credentialRow
		if err := scanRow(rows, st.sealFields, &row); err != nil {
			return err
		}
		if known.Seals[row.UserID] == nil {
			known.Seals[row.UserID] = map[string]string{}
		}
		known.Seals[row.UserID][row.Provider] = row.Sealed
		return nil
	})
}

// findHeld asks for the users that exist and were not locked, if any of those wanted were not. Only a
// statement after the one that locks sees what others did meanwhile.
func (tx *Tx) findHeld(ctx context.Context, wanted []user.Ref, known *Known) error {
	distinct := map[user.Ref]bool{}
	for _, ref := range wanted {
		distinct[ref] = true
	}
	if len(known.Users) >= len(distinct) {
		return nil
	}
	locked := map[uuid.UUID]bool{}
	for _, u := range known.Users {
		locked[u.ID] = true
	}
	kind, args := references(wanted)
	tx.next.query(tx.store.statements().learning.present[kind], args, func(rows pgx.Rows) error {
		var u user.User
		var email, userName *string
		if err := rows.Scan((*[16]byte)(&u.ID), &u.Tag, &email, &u.ExternalID, &userName); err != nil {
			return err
		}
		if !locked[u.ID] {
			u.EmailKey, u.UserNameKey = orEmpty(email), orEmpty(userName)
			known.Held = append(known.Held, &u)
		}
		return nil
	})
	return tx.next.run(ctx, tx.conn)
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// askHolders asks which of the keys are taken, and by whom.
func (tx *Tx) askHolders(keys UniqueKeys, known *Known) {
	args := make([]any, uniqueIndexes)
	asked := 0
	for i, values := range keys {
		asked += len(values)
		args[i] = append([]string{}, values...) // nil would be NULL
	}
	if asked > 0 {
		tx.queryHolders(tx.store.statements().learning.holders, args, known)
	}
}

// queryHolders reads holders: the index of a key, the key and the user's id.
func (tx *Tx) queryHolders(statement string, args []any, known *Known) {
	tx.next.query(statement, args, func(rows pgx.Rows) error {
		var index int
		var key string
		var id uuid.UUID
		if err := rows.Scan(&index, &key, (*[16]byte)(&id)); err != nil {
			return err
		}
		known.Holders[index][key] = id
		return nil
	})
}

// claimed holds the keys of a batch's claims.
type claimed struct {
	keys   [][]byte
	places map[string][]int // among the commands, several of which may bring one key
	locks  []int64
	locked []int // the locks' places
}

func claimKeys(claims []Claim) claimed {
	c := claimed{places: map[string][]int{}}
	for i, claim := range claims {
		if claim.Claim == nil {
			continue
		}
		key := claim.Key()
		c.keys = append(c.keys, key[:])
		c.places[string(key[:])] = append(c.places[string(key[:])], i)
		if !claim.Refused {
			c.locks, c.locked = append(c.locks, int64(binary.BigEndian.Uint64(key[:8]))), append(c.locked, i) //nolint:gosec // any 64 bits do
		}
	}
	return c
}

// askClaims takes the locks of claims, and finds the answers to those that are taken.
func (tx *Tx) askClaims(c claimed, known *Known) {
	if len(c.keys) == 0 {
		return
	}
	st := &tx.store.statements().learning
	if len(c.locks) > 0 {
		n := 0
		tx.next.query(st.takeLocks, []any{c.locks}, func(rows pgx.Rows) error {
			var got bool
			err := rows.Scan(&got)
			known.Claims[c.locked[n]].Busy = !got
			n++
			return err
		})
	}
	// Only a later statement sees what former holders of the locks have committed.
	tx.next.query(st.claims, []any{c.keys}, func(rows pgx.Rows) error {
		claim, replay, err := st.scanReplay(rows)
		for _, place := range c.places[string(claim.Key)] {
			known.Claims[place].Replay = replay
		}
		return err
	})
}

func (l *learning) scanReplay(rows pgx.Rows) (claim claimRow, _ *Replay, err error) {
	var event EventRow
	claimTargets := targetsOf(&claim, l.claimFields)
	if rows.RawValues()[len(l.claimFields)] == nil { // no event: its columns are null
		ignored := make([]any, len(l.ofEvents))
		err = rows.Scan(append(claimTargets, ignored...)...)
	} else {
		err = rows.Scan(append(claimTargets, targetsOf(&event, l.ofEvents)...)...)
	}
	replay := &Replay{Digest: claim.Digest, Secret: orEmpty(claim.Secret)}
	if claim.UserID != nil {
		replay.UserID = *claim.UserID
	}
	if event.ID != uuid.Nil {
		e := event.Event()
		replay.Event = &e
	}
	return claim, replay, err
}
