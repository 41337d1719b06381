package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// bulkStatements are those of a batch that write: its yardstick is the writing alone,
// without the looking up that tells the good events from the bad.
func bulkStatements(all []statement) []statement {
	var writing []statement
	for _, s := range all {
		if strings.Contains(s.text, "INSERT INTO") && strings.Contains(s.text, "unnest(") {
			writing = append(writing, s)
		}
	}
	return writing
}

// bulkCalls is how many transactions of a batch's statements are measured; their
// arguments are made before, since pgbench cannot take any of this size.
const bulkCalls = 24

// bulkSQL runs a batch's writing statements with numbers of their own, one transaction
// after another, as the service does, and returns the transactions per second.
func (b *bench) bulkSQL(ctx context.Context, t trial, connections int) (float64, error) {
	connections = min(connections, 2) // one writes while the next one's arguments are sent
	calls := make(chan [][]any, bulkCalls)
	for range bulkCalls {
		n := b.numbers.take(&b.numbers.created, firstCreated, t.count())
		m := b.numbers.take(&b.numbers.fresh, firstFresh, t.count())
		calls <- t.bulk.renumbered(n, m, t.count())
	}
	close(calls)
	var running sync.WaitGroup
	var mu sync.Mutex
	var failed error
	begun := time.Now()
	for range connections {
		running.Go(func() {
			if err := b.runBulk(ctx, t.bulk, calls); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return bulkCalls / time.Since(begun).Seconds(), failed
}

func (b *bench) runBulk(ctx context.Context, k bulk, calls chan [][]any) error {
	conn, err := pgx.Connect(ctx, b.cluster.URL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for args := range calls {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for i, s := range k.statements {
				if _, err := tx.Exec(ctx, s.text, args[i]...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bulk is a captured batch: its writing statements, and the first numbers in them.
type bulk struct {
	statements []statement
	n, m       int64
}

var (
	number12   = regexp.MustCompile(`\d{12}`)
	anyDigest  = regexp.MustCompile(`\\x[0-9a-f]{64}`)
	anyEventID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// renumbered are the statements' arguments for other users and events, as text. An event's
// id stands in several arguments, and must become the same in all of them.
func (k bulk) renumbered(n, m, count int64) [][]any {
	ids := map[string]string{}
	all := make([][]any, len(k.statements))
	for i, s := range k.statements {
		args := make([]any, len(s.args))
		for number, value := range s.args {
			if value != nil {
				args[number-1] = k.renumber(*value, n, m, count, ids)
			}
		}
		all[i] = args
	}
	return all
}

func (k bulk) renumber(text string, n, m, count int64, ids map[string]string) string {
	text = anyEventID.ReplaceAllStringFunc(text, func(id string) string {
		if strings.HasPrefix(id, "00000000-0000-7000-8000-") {
			return id // a user's
		}
		if ids[id] == "" {
			ids[id] = uuid.Must(uuid.NewV7()).String()
		}
		return ids[id]
	})
	text = anyDigest.ReplaceAllStringFunc(text, func(string) string {
		var random [32]byte
		_, _ = rand.Read(random[:])
		return `\x` + hex.EncodeToString(random[:])
	})
	return number12.ReplaceAllStringFunc(text, func(digits string) string {
		found, _ := strconv.ParseInt(digits, 10, 64)
		switch {
		case found >= k.n && found < k.n+count:
			return strconv.FormatInt(found+n-k.n, 10)
		case found >= k.m && found < k.m+count:
			return strconv.FormatInt(found+m-k.m, 10)
		}
		return digits
	})
}
