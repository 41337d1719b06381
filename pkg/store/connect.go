package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Connect opens a connection that is not the pool's, with the settings that new
// connections have at present: for session locks and notifications, which belong to one
// connection for as long as it lives. The caller closes it.
func (s *Store) Connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.config.Load().Copy())
	return conn, translate(err)
}
