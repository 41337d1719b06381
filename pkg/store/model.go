package store

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// The tables, each declared once. Statements, casts, placeholders and arrays come from these
// declarations; see statement.go. Fields are tagged with their SQL types, which casts repeat.

// userRow is a row of the table users.
type userRow struct {
	bun.BaseModel `bun:"table:users,alias:u"`

	ID                 uuid.UUID      `bun:"id,pk,type:uuid"`
	Tag                string         `bun:"tag,type:text"`
	Name               string         `bun:"name,type:text"`
	NameKey            string         `bun:"name_key,type:text"` // search form of the name
	Email              *string        `bun:"email,type:text"`
	EmailKey           *string        `bun:"email_key,type:text"` // comparison form
	UserName           *string        `bun:"user_name,type:text"`
	UserNameKey        string         `bun:"user_name_key,type:text"` // comparison form of the effective one
	Role               string         `bun:"role,type:text"`
	Status             string         `bun:"status,type:text"`
	ExpiresAt          *time.Time     `bun:"expires_at,type:timestamptz"`
	Models             []string       `bun:"models,array,type:text[]"`
	RequestsPerMinute  *int64         `bun:"requests_per_minute,type:bigint"`
	TokensPerMinute    *int64         `bun:"tokens_per_minute,type:bigint"`
	MonthlyBudgetCents *int64         `bun:"monthly_budget_cents,type:bigint"`
	Credentials        jsontext.Value `bun:"credentials,type:json"` // what a read shows; the sealed values are credentialRows
	Keys               jsontext.Value `bun:"keys,type:json"`        // all but hashes and use, which are keyRows
	Metadata           jsontext.Value `bun:"metadata,type:json"`
	ExternalID         *string        `bun:"external_id,type:text"`
	SCIM               jsontext.Value `bun:"scim,type:json"`
	Version            int64          `bun:"version,type:bigint"`
	CreatedAt          time.Time      `bun:"created_at,type:timestamptz"`
	UpdatedAt          time.Time      `bun:"updated_at,type:timestamptz"`
	Search             string         `bun:"search,type:text"` // what q searches
	Facets             []string       `bun:"facets,array,type:text[]"`
}

// groupsOf is one more column of a read, after the table's: the user's groups by name, each as its id and name in one
// text, NULL for none. Where nobody is in a group, only the first condition is evaluated, and once: looking up each row
// doubled the cost of a page. If the database made objects of them, a page would cost a quarter more.
const groupsOf = `CASE WHEN (SELECT true FROM group_members LIMIT 1) THEN ARRAY(SELECT g.id || g.display_name
	FROM group_members AS m JOIN groups AS g ON g.id = m.group_id WHERE m.user_id = u.id ORDER BY g.name_key) END AS groups`

// derivedColumns are the columns of users that only conditions use: no read needs them.
var derivedColumns = []string{"name_key", "search", "facets"}

// A check of access shows these columns; the others that its role may read (config/components/access) find the user.
var (
	checkedOfUser = []string{"id", "tag", "role", "status", "expires_at", "models", "requests_per_minute", "tokens_per_minute", "monthly_budget_cents", "version"}
	checkedOfKey  = []string{"id", "status", "models", "expires_at", "last_used_at", "previous_valid_until"}
)

func rowOf(u *user.User) userRow {
	row := userRow{ID: u.ID, Tag: u.Tag, Name: u.Name, NameKey: user.SearchForm(u.Name), Email: u.Email, UserName: u.UserName,
		UserNameKey: u.UserNameKey, Role: string(u.Role), Status: string(u.Status), ExpiresAt: u.ExpiresAt, Models: u.Models,
		RequestsPerMinute: u.Limits.RequestsPerMinute, TokensPerMinute: u.Limits.TokensPerMinute,
		MonthlyBudgetCents: (*int64)(u.Limits.MonthlyBudgetUSD), Credentials: user.AppendCredentials(nil, u.Credentials),
		Keys: user.AppendKeys(nil, u.Keys), Metadata: u.Metadata, ExternalID: u.ExternalID, SCIM: u.SCIM, Version: u.Version,
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, Search: user.SearchText(u), Facets: user.Facets(u)}
	if u.EmailKey != "" {
		row.EmailKey = &u.EmailKey
	}
	return row
}

// decodedUser is a user with the values of its optional fields beside it: one allocation for all.
type decodedUser struct {
	user.User
	email, userName, externalID string
	requests, tokens, budget    int64
	expires                     time.Time
}

// decodeUserColumn decodes columns of userRow from PostgreSQL's wire format, a nil value being NULL. Every read
// passes through it, and scanning by reflection took a third of a read's time. A test holds it against the model.
var decodeUserColumn = map[string]func(u *decodedUser, v []byte) error{
	"id":            func(u *decodedUser, v []byte) error { copy(u.ID[:], v); return nil },
	"tag":           func(u *decodedUser, v []byte) error { u.Tag = string(v); return nil },
	"name":          func(u *decodedUser, v []byte) error { u.Name = string(v); return nil },
	"email":         func(u *decodedUser, v []byte) error { u.Email = optionalText(v, &u.email); return nil },
	"email_key":     func(u *decodedUser, v []byte) error { u.EmailKey = string(v); return nil },
	"user_name":     func(u *decodedUser, v []byte) error { u.UserName = optionalText(v, &u.userName); return nil },
	"user_name_key": func(u *decodedUser, v []byte) error { u.UserNameKey = string(v); return nil },
	"role":          func(u *decodedUser, v []byte) error { u.Role = user.Role(v); return nil },
	"status":        func(u *decodedUser, v []byte) error { u.Status = user.Status(v); return nil },
	"models":        func(u *decodedUser, v []byte) error { u.Models = texts(v); return nil },
	"requests_per_minute": func(u *decodedUser, v []byte) error {
		u.Limits.RequestsPerMinute = optionalInteger(v, &u.requests)
		return nil
	},
	"tokens_per_minute": func(u *decodedUser, v []byte) error {
		u.Limits.TokensPerMinute = optionalInteger(v, &u.tokens)
		return nil
	},
	"credentials": func(u *decodedUser, v []byte) error { return unlessEmpty(v, &u.Credentials) },
	"keys":        func(u *decodedUser, v []byte) error { return unlessEmpty(v, &u.Keys) },
	"metadata":    func(u *decodedUser, v []byte) error { u.Metadata = slices.Clone(v); return nil },
	"external_id": func(u *decodedUser, v []byte) error { u.ExternalID = optionalText(v, &u.externalID); return nil },
	"groups":      func(u *decodedUser, v []byte) (err error) { u.Groups, err = groupsIn(v); return err },
	"scim":        func(u *decodedUser, v []byte) error { u.SCIM = objectOf(v); return nil },
	"version":     func(u *decodedUser, v []byte) error { u.Version = integer(v); return nil },
	"created_at":  func(u *decodedUser, v []byte) error { u.CreatedAt = timestamp(v); return nil },
	"updated_at":  func(u *decodedUser, v []byte) error { u.UpdatedAt = timestamp(v); return nil },
	"monthly_budget_cents": func(u *decodedUser, v []byte) error {
		u.Limits.MonthlyBudgetUSD = (*user.Cents)(optionalInteger(v, &u.budget))
		return nil
	},
	"expires_at": func(u *decodedUser, v []byte) error {
		if v != nil {
			u.expires = timestamp(v)
			u.ExpiresAt = &u.expires
		}
		return nil
	},
}

// userDecoder decodes rows of some columns, in their order.
type userDecoder []func(*decodedUser, []byte) error

func decoderOf(columns []string) userDecoder {
	decoder := make(userDecoder, len(columns))
	for i, column := range columns {
		decoder[i] = decodeUserColumn[column]
	}
	return decoder
}

// user decodes a row, which may have further columns.
func (d userDecoder) user(row [][]byte) (*user.User, error) {
	u := new(decodedUser)
	for i, decode := range d {
		if err := decode(u, row[i]); err != nil {
			return nil, err
		}
	}
	return &u.User, nil
}

func optionalText(v []byte, to *string) *string {
	if v == nil {
		return nil
	}
	*to = string(v)
	return to
}

func optionalInteger(v []byte, to *int64) *int64 {
	if v == nil {
		return nil
	}
	*to = integer(v)
	return to
}

func integer(v []byte) int64 { return int64(binary.BigEndian.Uint64(v)) } //nolint:gosec // two's complement on the wire

// timestamp decodes a timestamptz: microseconds from the beginning of 2000.
func timestamp(v []byte) time.Time {
	const epoch = 946_684_800_000_000
	return time.UnixMicro(epoch + integer(v)).UTC()
}

// texts decodes a text[] that has no NULL: the number of dimensions, two words that are ignored,
// the length and the lower bound, then each element after its length. An empty one has no
// dimension.
func texts(v []byte) []string {
	word := func(v []byte) int { return int(binary.BigEndian.Uint32(v)) }
	switch {
	case v == nil:
		return nil
	case word(v) == 0:
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

// groupsIn decodes [groupsOf].
func groupsIn(v []byte) (groups []user.GroupRef, err error) {
	const id = len("00000000-0000-0000-0000-000000000000")
	for _, text := range texts(v) {
		g := user.GroupRef{Name: text[id:]}
		if g.ID, err = uuid.Parse(text[:id]); err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// unlessEmpty decodes a list. Most users' lists are empty and skip the decoder.
func unlessEmpty[T any](list []byte, into *[]T) error {
	if len(list) <= len("[]") {
		return nil
	}
	return json.Unmarshal(list, into)
}

var emptyObject = jsontext.Value("{}")

// objectOf copies an object. Most users' objects are empty and share one.
func objectOf(v []byte) jsontext.Value {
	if string(v) == "{}" {
		return emptyObject
	}
	return slices.Clone(v)
}

// credentialRow is a row of the table credentials: one sealed secret.
type credentialRow struct {
	bun.BaseModel `bun:"table:credentials,alias:c"`

	UserID        uuid.UUID `bun:"user_id,pk,type:uuid"`
	Provider      string    `bun:"provider,pk,type:text"`
	Sealed        string    `bun:"sealed,type:text"`
	UserCreatedAt time.Time `bun:"user_created_at,type:timestamptz"` // a copy: listings of holders are in this order
}

// keyRow is a row of the table keys: what checks an API key.
type keyRow struct {
	bun.BaseModel `bun:"table:keys,alias:k"`

	ID                 uuid.UUID  `bun:"id,pk,type:uuid"`
	UserID             uuid.UUID  `bun:"user_id,type:uuid"`
	Name               string     `bun:"name,type:text"`
	Hint               string     `bun:"hint,type:text"`
	Hash               []byte     `bun:"hash,type:bytea"`
	PreviousHash       []byte     `bun:"previous_hash,type:bytea"`
	PreviousValidUntil *time.Time `bun:"previous_valid_until,type:timestamptz"`
	Models             []string   `bun:"models,array,type:text[]"`
	Status             string     `bun:"status,type:text"`
	CreatedAt          time.Time  `bun:"created_at,type:timestamptz"`
	CreatedBy          string     `bun:"created_by,type:text"`
	ExpiresAt          *time.Time `bun:"expires_at,type:timestamptz"`
	LastUsedAt         *time.Time `bun:"last_used_at,type:timestamptz"`
}

// EventRow is a row of the table events, from which the outbox, the history and the change feed are read. The
// database gives Seq and XID.
type EventRow struct {
	bun.BaseModel `bun:"table:events,alias:e"`

	ID          uuid.UUID      `bun:"id,pk,type:uuid"`
	Seq         int64          `bun:"seq,type:bigint"` // grows with every change of one user, since its row lock is held
	XID         uint64         `bun:"xid,type:xid8"`   // see feedPlace
	UserID      uuid.UUID      `bun:"user_id,type:uuid"`
	Version     int64          `bun:"version,type:bigint"`
	Type        string         `bun:"type,type:text"`
	At          time.Time      `bun:"at,type:timestamptz"`
	Actor       string         `bun:"actor,type:text"`
	Cause       string         `bun:"cause,type:text"`
	TraceParent string         `bun:"trace_parent,type:text"`
	Data        jsontext.Value `bun:"data,type:json"`
	Changes     jsontext.Value `bun:"changes,type:json"`
}

func eventOf(e *user.Event) EventRow {
	return EventRow{ID: e.ID, UserID: e.UserID, Version: e.Version, Type: string(e.Type), At: e.At, Actor: e.Actor,
		Cause: e.Cause, TraceParent: e.TraceParent, Data: e.Data, Changes: e.Changes}
}

// Event returns the event in the domain's form.
func (r *EventRow) Event() user.Event {
	return user.Event{ID: r.ID, Type: user.EventType(r.Type), UserID: r.UserID, Version: r.Version, At: r.At.UTC(),
		Actor: r.Actor, Cause: r.Cause, TraceParent: r.TraceParent, Data: r.Data, Changes: r.Changes}
}

func (r EventRow) entry() user.LogEntry {
	return user.LogEntry{Event: r.Event(), Seq: r.Seq, XID: r.XID}
}

// outboxRow is a row of the table outbox: an event that is not sent yet.
type outboxRow struct {
	bun.BaseModel `bun:"table:outbox,alias:o"`

	Partition int16      `bun:"partition,pk,type:smallint"`
	Seq       int64      `bun:"seq,pk,type:bigint"`
	EventID   uuid.UUID  `bun:"event_id,type:uuid"`
	UserID    uuid.UUID  `bun:"user_id,type:uuid"`
	Attempts  int        `bun:"attempts,type:integer"` // tries that the sink refused
	Failures  int        `bun:"failures,type:integer"` // tries that failed, refused ones among them
	RetryAt   *time.Time `bun:"retry_at,type:timestamptz"`
	ParkedAt  *time.Time `bun:"parked_at,type:timestamptz"`
	Fault     *string    `bun:"fault,type:text"`
}

// claimRow is a row of the table claims: a request or an event whose effect must happen once.
type claimRow struct {
	bun.BaseModel `bun:"table:claims,alias:c"`

	Key       []byte     `bun:"key,pk,type:bytea"`
	Digest    []byte     `bun:"digest,type:bytea"`
	UserID    *uuid.UUID `bun:"user_id,type:uuid"`
	EventID   *uuid.UUID `bun:"event_id,type:uuid"` // nil: the request changed nothing
	ExpiresAt time.Time  `bun:"expires_at,type:timestamptz"`
	Secret    *string    `bun:"secret,type:text"` // sealed: the secret that the first answer showed
}

// erasureRow is a row of the table erasures: a deleted user whose personal values are still in the log.
type erasureRow struct {
	bun.BaseModel `bun:"table:erasures,alias:er"`

	UserID uuid.UUID `bun:"user_id,pk,type:uuid"`
	Seq    int64     `bun:"seq,pk,type:bigint"` // of the deletion
}

// feedFloorRow is the one row of the table feed_floor: how far retention has removed the log.
type feedFloorRow struct {
	bun.BaseModel `bun:"table:feed_floor,alias:f"`

	One   bool   `bun:"one,pk,type:boolean"`
	XID   uint64 `bun:"xid,type:xid8"`
	Seq   int64  `bun:"seq,type:bigint"`
	Shift int64  `bun:"shift,type:bigint"`
}

// groupRow is a row of the table groups, whose members come from an identity provider.
type groupRow struct {
	bun.BaseModel `bun:"table:groups,alias:g"`

	ID          uuid.UUID `bun:"id,pk,type:uuid"`
	DisplayName string    `bun:"display_name,type:text"`
	NameKey     string    `bun:"name_key,type:text"` // comparison form
	ExternalID  *string   `bun:"external_id,type:text"`
	Version     int64     `bun:"version,type:bigint"`
	CreatedAt   time.Time `bun:"created_at,type:timestamptz"`
	UpdatedAt   time.Time `bun:"updated_at,type:timestamptz"`
}

// memberRow is a row of the table group_members.
type memberRow struct {
	bun.BaseModel `bun:"table:group_members,alias:m"`

	GroupID uuid.UUID `bun:"group_id,pk,type:uuid"`
	UserID  uuid.UUID `bun:"user_id,pk,type:uuid"`
}

// auditRow is a row of the table audit.
type auditRow struct {
	bun.BaseModel `bun:"table:audit,alias:a"`

	ID        uuid.UUID      `bun:"id,pk,type:uuid"` // version 7: the order in time
	At        time.Time      `bun:"at,type:timestamptz"`
	Actor     string         `bun:"actor,type:text"`
	Action    string         `bun:"action,type:text"`
	UserID    *uuid.UUID     `bun:"user_id,type:uuid"`
	Provider  *string        `bun:"provider,type:text"`
	KeyID     *string        `bun:"key_id,type:text"`
	RequestID string         `bun:"request_id,type:text"`
	SourceIP  string         `bun:"source_ip,type:text"`
	Outcome   string         `bun:"outcome,type:text"`
	Detail    jsontext.Value `bun:"detail,type:json"`
	// Bucket makes entries that are counted one row, whose Count grows; nil for all others.
	Bucket *string `bun:"bucket,type:text"`
	Count  int64   `bun:"count,type:bigint"`
}

// unformedRow is a row of the table unformed_users: a user whose comparison and search forms were
// written by an older revision, or by SQL, and are to be computed.
type unformedRow struct {
	bun.BaseModel `bun:"table:unformed_users,alias:n"`

	UserID uuid.UUID `bun:"user_id,pk,type:uuid"`
}
