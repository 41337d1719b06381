package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// captured is what an operation asks, the answer to its first request, and the statements behind each request.
type captured struct {
	requests   []template
	answer     answer
	statements [][]statement
}

// statement is what the service ran, as PostgreSQL's log has it.
type statement struct {
	text         string
	args         []template // a nil text is NULL
	changesUsers bool
}

// capture makes an operation's request to a service whose statements are logged. Statements that do not come
// with each of several requests belong to the start or to the background, and are left out. Of an operation whose
// requests differ, each request is made once more, for its own statements.
func (b *bench) capture(ctx context.Context, o operation) (c captured, err error) {
	c.requests = []template{b.request(o)}
	if o.vary != nil {
		if c.requests, err = o.vary(b, ctx, o); err != nil {
			return c, err
		}
	}
	logged, err := b.startService(ctx, variant{parameters: "&options=-c%20log_statement%3Dall"})
	if err != nil {
		return c, err
	}
	defer logged.stop()
	var each []statement
	for i := range 5 {
		records, n, m, err := b.logOf(ctx, logged, o, &c.answer, c.requests[:1])
		if err != nil {
			return c, err
		}
		before := each
		each = slices.DeleteFunc(statementsOf(records, o, n, m), func(s statement) bool { return i > 0 && !contains(before, s) })
	}
	if len(each) == 0 {
		return c, errors.New("no statement of it in PostgreSQL's log")
	}
	if c.statements = [][]statement{each}; len(c.requests) == 1 {
		return c, nil
	}
	var last answer
	records, n, m, err := b.logOf(ctx, logged, o, &last, c.requests)
	all := slices.DeleteFunc(statementsOf(records, o, n, m), func(s statement) bool { return !contains(each, s) })
	if err == nil && len(all) != len(each)*len(c.requests) {
		err = fmt.Errorf("%d statements of %d requests in PostgreSQL's log, not %d of each", len(all), len(c.requests), len(each))
	}
	c.statements = slices.Collect(slices.Chunk(all, len(each)))
	return c, err
}

func contains(statements []statement, s statement) bool {
	return slices.ContainsFunc(statements, func(t statement) bool { return t.text == s.text })
}

// logOf makes requests, one after the other, and returns what PostgreSQL logs meanwhile, with the last answer and
// its numbers.
func (b *bench) logOf(ctx context.Context, to *process, o operation, a *answer, requests []template) (
	records [][]string, n, m int64, err error) {
	if _, err := b.readLog(ctx); err != nil { // what came before
		return nil, 0, 0, err
	}
	for _, request := range requests {
		if *a, n, m, err = b.once(ctx, to, o, request); err != nil {
			return nil, 0, 0, err
		}
	}
	time.Sleep(200 * time.Millisecond) // the log is written by a process of its own
	records, err = b.readLog(ctx)
	return records, n, m, err
}

// readLog returns the records of PostgreSQL's log since the last call.
func (b *bench) readLog(ctx context.Context) ([][]string, error) {
	var text string
	err := b.db.QueryRow(ctx, "SELECT pg_read_file(pg_current_logfile('csvlog'), $1, 64 << 20)", b.logRead).Scan(&text)
	if err != nil {
		return nil, err
	}
	b.logRead += int64(len(text))
	return csv.NewReader(strings.NewReader(text)).ReadAll()
}

var (
	executed     = regexp.MustCompile(`(?s)^(?:execute [^:]*|statement): (.*)$`)
	parameter    = regexp.MustCompile(`\$\d+ = (?:NULL|'((?:[^']|'')*)')`)
	changesUsers = regexp.MustCompile(`^(?:INSERT INTO|UPDATE|DELETE FROM) "users"`)
	// ofJanitor matches what follows each change in the background.
	ofJanitor = regexp.MustCompile(`^(SELECT gin_clean_pending_list|WITH due AS)`)
)

// statementsOf returns the statements in a log of an operation's request with numbers n and m.
func statementsOf(records [][]string, o operation, n, m int64) (found []statement) {
	const message, detail = 13, 14 // columns
	var ids map[string]int64
	if o.writes {
		ids = map[string]int64{} // what a change makes up has to be new each time
	}
	for _, record := range records {
		match := executed.FindStringSubmatch(record[message])
		if match == nil || ofJanitor.MatchString(match[1]) {
			continue
		}
		s := statement{text: match[1], changesUsers: changesUsers.MatchString(match[1])}
		for _, arg := range parameter.FindAllStringSubmatch(record[detail], -1) {
			var t template
			if !strings.HasSuffix(arg[0], "NULL") {
				t = newTemplate(strings.ReplaceAll(arg[1], "''", "'"), n, m, o.count(), ids)
			}
			s.args = append(s.args, t)
		}
		found = append(found, s)
	}
	return found
}

// yardstickSettings are those of the service's connections: with others, its statements have other plans.
const yardstickSettings = `SET enable_seqscan = off; SET jit = off;
	SET random_page_cost = 0.2; SET seq_page_cost = 0.2; SET ai_admin.forms = '1'`

// replayers returns what connects a client that runs the captured statements of any of an operation's requests each
// time, prepared.
func (b *bench) replayers(o operation, captured [][]statement) func(context.Context) (client, error) {
	return func(ctx context.Context) (client, error) {
		conn, err := pgconn.Connect(ctx, b.cluster.URL(database))
		if err != nil {
			return client{}, err
		}
		_, err = conn.Exec(ctx, yardstickSettings).ReadAll()
		for i := 0; i < len(captured[0]) && err == nil; i++ {
			_, err = conn.Prepare(ctx, strconv.Itoa(i), captured[0][i].text, nil)
		}
		return client{conn.Conn(), func(n, m int64) (time.Duration, error) {
			rows, err := replay(conn, o, captured[rand.IntN(len(captured))], n, m)
			if err == nil && rows < o.count() { // statements that find nobody are fast
				err = fmt.Errorf("the yardstick changes or finds %d rows, not %d", rows, o.count())
			}
			return 0, err
		}}, err
	}
}

// replay runs prepared statements in one round trip: nobody can do with fewer. It returns how many users they change,
// or of an operation that reads, how many rows.
func replay(conn *pgconn.PgConn, o operation, statements []statement, n, m int64) (rows int64, err error) {
	pipeline := conn.StartPipeline(context.Background())
	defer func() { err = errors.Join(err, pipeline.Close()) }()
	for i, s := range statements {
		values := make([][]byte, len(s.args))
		for k, arg := range s.args {
			values[k] = arg.render(n, m)
		}
		pipeline.SendQueryPrepared(strconv.Itoa(i), values, nil, nil)
	}
	if err := pipeline.Sync(); err != nil {
		return 0, err
	}
	for _, s := range statements {
		results, err := pipeline.GetResults()
		if err != nil {
			return 0, err
		}
		tag, err := results.(*pgconn.ResultReader).Close() //nolint:forcetypeassert // statements have such results
		if err != nil {
			return 0, err
		}
		if !o.writes || s.changesUsers {
			rows += tag.RowsAffected()
		}
	}
	return rows, nil
}
