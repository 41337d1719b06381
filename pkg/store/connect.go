package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Connect opens a connection that is not the pool's, with the settings that new
// connections have at present: for session locks and notifications, which belong to one
// connection for as long as it lives. The caller closes it.
func (s *Store) Connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.config.Load().Copy())
	return conn, translate(err)
}

// Aside makes a pool of its own for work that must go on while requests have taken all
// connections of the store's. The caller closes it.
func (s *Store) Aside(connections int) *sql.DB {
	db := sql.OpenDB(stdlib.GetConnector(*s.config.Load(), stdlib.OptionBeforeConnect(s.useLatest),
		stdlib.OptionResetSession(s.retireOld), stdlib.OptionAfterConnect(s.settle)))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(time.Minute)
	return db
}
