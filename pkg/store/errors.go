package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"aiadmin/pkg/user"
)

// duplicates maps a violated unique index to what a client reads.
var duplicates = map[string]*user.Error{
	"users_pkey":        {Kind: user.DuplicateID, Message: "a user or group with this id exists, or a group had it"},
	"users_tag":         {Kind: user.DuplicateTag, Message: "a user with this tag exists"},
	"users_email":       {Kind: user.DuplicateEmail, Message: "a user with this e-mail address exists"},
	"users_external_id": {Kind: user.DuplicateExternalID, Message: "a user with this externalId exists"},
	"users_user_name":   {Kind: user.DuplicateUserName, Message: "another user has this userName, or an e-mail address or tag that serves as one"},

	"groups_pkey":        {Kind: user.DuplicateID, Message: "a group with this id exists"},
	"groups_name":        {Kind: user.DuplicateGroupName, Message: "a group with this displayName exists"},
	"groups_external_id": {Kind: user.DuplicateExternalID, Message: "a group with this externalId exists"},
}

// uniqueNames are the names of the indexes of [UniqueKeys].
var uniqueNames = [uniqueIndexes]string{KeyID: "users_pkey", KeyTag: "users_tag", KeyEmail: "users_email",
	KeyExternalID: "users_external_id", KeyUserName: "users_user_name"}

// Taken returns the error for a unique key that another user has.
func Taken(index int) error { return duplicates[uniqueNames[index]] }

// Translate gives a database error its kind. Errors that clients need not know about stay as they
// are.
func Translate(err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*user.Error](err); known {
		return err
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	pgErr := postgresError(err)
	switch {
	case connecting && pgErr != nil && refusals[pgErr.Code]:
		return user.Errorf(user.Unavailable, "the database refuses the connection").Wrap(databaseError{pgErr})
	case connecting && !errors.Is(err, context.Canceled): // whatever the reason: a timeout, or one of the server's own
		return unavailable(Loggable(err))
	case pgErr != nil:
		return translatePostgres(pgErr)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return timedOut(err)
	case isConnectionFault(err):
		return unavailable(err)
	}
	return err
}

func translatePostgres(err *pgconn.PgError) error {
	if duplicate, ok := duplicates[err.ConstraintName]; ok && err.Code == "23505" {
		return duplicate
	}
	if err.Code == lockTimeout {
		return errHeld.Wrap(databaseError{err})
	}
	if err.Code == undefinedTable || err.Code == undefinedColumn {
		return errNotMigrated.Wrap(databaseError{err})
	}
	if strings.HasPrefix(err.Code, "08") || retryable[err.Code] {
		return unavailable(databaseError{err})
	}
	if err.Code == statementTimeout { // of a database whose administrator set one
		return timedOut(databaseError{err})
	}
	return databaseError{err}
}

// Loggable returns err without the database's text, which may quote a row.
func Loggable(err error) error {
	if pgErr := postgresError(err); pgErr != nil {
		return databaseError{pgErr}
	}
	return err
}

// databaseError describes a database error without its text, which can quote a statement or a value
// of a row: errors end up in logs.
type databaseError struct{ of *pgconn.PgError }

// Error implements error.
func (e databaseError) Error() string {
	text := "database error, SQLSTATE " + e.of.Code
	for _, place := range []struct{ name, value string }{
		{"table", e.of.TableName}, {"constraint", e.of.ConstraintName}, {"routine", e.of.Routine},
	} {
		if place.value != "" {
			text += ", " + place.name + " " + place.value
		}
	}
	return text
}

// retryable are the SQLSTATEs of a server that cannot serve now: out of connections,
// shutting down or starting up, refusing the credentials, read-only after a failover,
// or choosing this transaction as a deadlock's victim.
var retryable = map[string]bool{
	"53300": true, "57P01": true, "57P02": true, "57P03": true, "28000": true, "28P01": true,
	"3D000": true, "25006": true, "40P01": true, "40001": true, "53100": true, "53200": true,
}

// refusals are the SQLSTATEs of a server that rejects these credentials or this database.
var refusals = map[string]bool{"28000": true, "28P01": true, "3D000": true}

// Refusal returns PostgreSQL's own message if it rejects the credentials or the database; empty for any
// other error. The message names the role, the database and the client's address, and nothing of a row. It
// is for the output of a command, whose user must correct the settings, and never for a log.
func Refusal(err error) string {
	if pgErr := postgresError(err); pgErr != nil && refusals[pgErr.Code] {
		return pgErr.Message
	}
	return ""
}

// errNotMigrated is for requests that come before the migrations are done.
var errNotMigrated = user.Errorf(user.Unavailable, "the database is being prepared: try again shortly")

// errHeld ends a change that waited too long for a lock.
var errHeld = user.Errorf(user.Unavailable, "another change of the same data has been under way for a while: try again shortly")

const lockTimeout = "55P03"

const statementTimeout = "57014"

func timedOut(err error) error {
	return user.Errorf(user.Timeout, "the request took too long").Wrap(err)
}

func unavailable(err error) error {
	return user.Errorf(user.Unavailable, "the database does not answer: try again shortly").Wrap(err)
}

func isConnectionFault(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, io.EOF) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "conn closed") // pgx keeps this one to itself
}

func postgresError(err error) *pgconn.PgError {
	if kept, ok := errors.AsType[databaseError](err); ok {
		return kept.of
	}
	pgErr, _ := errors.AsType[*pgconn.PgError](err)
	return pgErr
}
