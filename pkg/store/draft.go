package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/user"
)

// Draft is a stand-in for the database that a dry run writes to: a connection whose search path begins with its own
// temporary tables of users and credentials. Users are copied there when a command first names them or asks for
// one of their unique keys. Nobody else sees what is written, no row that others use is locked, and each
// transaction is short, so that nobody waits for a dry run.
type Draft struct {
	store   *Store
	conn    *pgx.Conn
	named   string // copies the users that are named
	holders string // copies those whose userName is what others fall back to
	begun   int    // transactions
}

var errNoDraft = user.Errorf(user.Unavailable, "a dry run works on temporary tables, which the service's role may not make: "+
	"GRANT TEMPORARY ON DATABASE … TO it")

// Draft opens a draft. The caller closes it.
func (s *Store) Draft(ctx context.Context) (*Draft, error) {
	config := new(pgx.ConnConfig)
	if err := s.useLatest(ctx, config); err != nil {
		return nil, Translate(err)
	}
	conn, err := s.connect(ctx, config)
	if err != nil {
		return nil, Translate(err)
	}
	d := &Draft{store: s, conn: conn}
	if err := d.begin(ctx); err != nil {
		d.Close()
		return nil, Translate(err)
	}
	return d, nil
}

// begin makes the temporary tables. Bun has no word for LIKE. Unless the path names them first, a table of the same
// name could come before them, and the dry run would be none.
func (d *Draft) begin(ctx context.Context) error {
	var schema string
	var may bool
	if err := d.conn.QueryRow(ctx, "SELECT relnamespace::regnamespace::text, has_database_privilege(current_database(), 'TEMPORARY') "+
		"FROM pg_class WHERE oid = 'users'::regclass").Scan(&schema, &may); err != nil {
		return err
	}
	if !may {
		return errNoDraft
	}
	statements := fmt.Sprint(requestSettings, d.store.patience.Milliseconds()) + fmt.Sprintf(`;
		CREATE TEMPORARY TABLE credentials (LIKE %[1]s.credentials INCLUDING DEFAULTS, PRIMARY KEY (user_id, provider));
		CREATE TEMPORARY TABLE users (LIKE %[1]s.users INCLUDING DEFAULTS INCLUDING GENERATED);
		CREATE TEMPORARY TABLE drafted (id uuid PRIMARY KEY);
		SELECT set_config('search_path', 'pg_temp, ' || current_setting('search_path'), false);
		%[2]s;`, schema, failUnless("'users'::regclass = 'pg_temp.users'::regclass AND 'credentials'::regclass = 'pg_temp.credentials'::regclass"))
	for index, column := range uniqueColumns {
		statements += fmt.Sprintf("CREATE UNIQUE INDEX %s ON pg_temp.users (%s);", uniqueNames[index], column)
	}
	if _, err := d.conn.PgConn().Exec(ctx, statements).ReadAll(); err != nil {
		return err
	}
	users := strings.Join(columnsOf(fieldsOf[userRow](d.store.db)), ", ")
	seals := strings.Join(columnsOf(fieldsOf[credentialRow](d.store.db)), ", ")
	// A copy is taken once: later, the draft may have changed or deleted it.
	copying := func(condition string) string {
		return fmt.Sprintf(`WITH copied AS (INSERT INTO pg_temp.users (%[2]s) SELECT %[2]s FROM %[1]s.users AS u WHERE (%[4]s)
				AND NOT EXISTS (SELECT FROM pg_temp.drafted AS d WHERE d.id = u.id) ON CONFLICT DO NOTHING RETURNING id),
			noted AS (INSERT INTO pg_temp.drafted SELECT id FROM copied)
			INSERT INTO pg_temp.credentials (%[3]s) SELECT %[3]s FROM %[1]s.credentials WHERE user_id IN (SELECT id FROM copied)`,
			schema, users, seals, condition)
	}
	d.named = copying(byAny)
	d.holders = copying("u.user_name_key IN (SELECT unnest(ARRAY[u.email_key, u.tag]) FROM pg_temp.users AS u WHERE " + byAny + ")")
	return nil
}

// Begin starts a transaction of the draft, which learns what is wanted as [Store.Begin] does. Claims do not count.
func (d *Draft) Begin(ctx context.Context, wanted *Wanted) (*Tx, *Known, error) {
	tx := &Tx{store: d.store, conn: d.conn, release: func() {}}
	tx.next.exec("BEGIN")
	tx.next.exec(d.named, argumentsOfAny(wanted.Users, wanted.Keys)...)
	if len(wanted.Fallbacks) > 0 {
		tx.next.exec(d.holders, argumentsOfAny(wanted.Fallbacks, UniqueKeys{})...)
	}
	if d.begun++; d.begun&(d.begun-1) == 0 { // each time that it has doubled: autovacuum sees no temporary tables
		tx.next.exec("ANALYZE pg_temp.users")
	}
	known, err := tx.learn(ctx, Wait, wanted)
	if err != nil {
		tx.Rollback()
		return nil, nil, Translate(err)
	}
	return tx, known, nil
}

// Close drops the draft.
func (d *Draft) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = d.conn.Close(ctx) // the tables go with the connection
}
