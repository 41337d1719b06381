package main

import (
	"context"
	"encoding/csv"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// statement is what the service ran, as PostgreSQL's log has it.
type statement struct {
	session, text string
	args          map[int]*string // by the number of the parameter; nil is NULL
}

// The columns of PostgreSQL's CSV log that matter here.
const (
	logSession     = 5
	logMessage     = 13
	logDetail      = 14
	logApplication = 22
)

// captured makes one request and returns its answer and the statements behind it.
func (b *bench) captured(ctx context.Context, o operation) (a answer, found []statement, n, m int64, err error) {
	// Connections prepare a statement when they first run it: the first requests meet that.
	for range 2 {
		if _, _, _, err := b.once(ctx, o); err != nil {
			return a, nil, 0, 0, err
		}
	}
	if err := b.logStatements(ctx, "all"); err != nil {
		return a, nil, 0, 0, err
	}
	defer func() { _ = b.logStatements(ctx, "none") }()
	_, first, _, _, err := b.logged(ctx, o)
	if err != nil {
		return a, nil, 0, 0, err
	}
	a, found, n, m, err = b.logged(ctx, o)
	// What clears up comes every few seconds, and not twice in a row.
	return a, slices.DeleteFunc(found, func(s statement) bool {
		return !slices.ContainsFunc(first, func(t statement) bool { return t.text == s.text })
	}), n, m, err
}

// quiet returns when the service has cleared up after the last operation: after deletions it
// erases their users' data from the log.
func (b *bench) quiet(ctx context.Context) error {
	for {
		var busy bool
		if err := b.db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM erasures)").Scan(&busy); err != nil || !busy {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// logged makes one request and returns its answer and what was run meanwhile for it. Right after a load, PostgreSQL may
// need a moment to begin logging, or to write what it logs: then the request is made again.
func (b *bench) logged(ctx context.Context, o operation) (a answer, found []statement, n, m int64, err error) {
	const tries = 5
	for range tries {
		if a, found, n, m, err = b.loggedOnce(ctx, o); err != nil || len(found) > 0 {
			break
		}
	}
	return a, found, n, m, err
}

func (b *bench) loggedOnce(ctx context.Context, o operation) (a answer, found []statement, n, m int64, err error) {
	if err := b.quiet(ctx); err != nil {
		return a, nil, 0, 0, err
	}
	before, err := b.logSize(ctx)
	if err != nil {
		return a, nil, 0, 0, err
	}
	if a, n, m, err = b.once(ctx, o); err != nil {
		return a, nil, 0, 0, err
	}
	time.Sleep(200 * time.Millisecond) // the log is written by a process of its own
	text, err := b.readLog(ctx, before)
	return a, ofRequest(parseLog(text, b.background), n, m), n, m, err
}

// logStatements sets log_statement for all connections, and waits until they know.
func (b *bench) logStatements(ctx context.Context, what string) error {
	for _, text := range []string{"ALTER SYSTEM SET log_statement = '" + what + "'", "SELECT pg_reload_conf()"} {
		if _, err := b.db.Exec(ctx, text); err != nil {
			return err
		}
	}
	time.Sleep(200 * time.Millisecond)
	return nil
}

// observeBackground notes what the service runs without being asked, so that it is not
// taken for a part of an operation.
func (b *bench) observeBackground(ctx context.Context) error {
	if err := b.logStatements(ctx, "all"); err != nil {
		return err
	}
	before, err := b.logSize(ctx)
	if err != nil {
		return err
	}
	time.Sleep(2500 * time.Millisecond)
	text, err := b.readLog(ctx, before)
	if err != nil {
		return err
	}
	b.background = map[string]bool{}
	for _, s := range parseLog(text, nil) {
		b.background[s.text] = true
	}
	return b.logStatements(ctx, "none")
}

func (b *bench) logSize(ctx context.Context) (size int64, err error) {
	err = b.db.QueryRow(ctx, "SELECT size FROM pg_stat_file(pg_current_logfile('csvlog'))").Scan(&size)
	return size, err
}

func (b *bench) readLog(ctx context.Context, from int64) (text string, err error) {
	err = b.db.QueryRow(ctx, "SELECT pg_read_file(pg_current_logfile('csvlog'), $1, 64 << 20)", from).Scan(&text)
	return text, err
}

// ofJanitor are statements that follow a change in the background, on whatever connection is free.
var ofJanitor = regexp.MustCompile(`^(SELECT gin_clean_pending_list|WITH due AS)`)

var executed = regexp.MustCompile(`(?s)^(?:execute [^:]*|statement): (.*)$`)

// parseLog lists the service's statements in a piece of the log.
func parseLog(text string, except map[string]bool) []statement {
	reader := csv.NewReader(strings.NewReader(text))
	reader.FieldsPerRecord = -1
	records, _ := reader.ReadAll()
	var found []statement
	for _, record := range records {
		if len(record) <= logApplication || record[logApplication] != "ai-admin" {
			continue
		}
		match := executed.FindStringSubmatch(record[logMessage])
		if match == nil || except[match[1]] || ofJanitor.MatchString(match[1]) || strings.HasPrefix(match[1], "-- ping") {
			continue
		}
		found = append(found, statement{record[logSession], match[1], parseParameters(record[logDetail])})
	}
	return found
}

// ofRequest leaves out what the service did at that moment for other reasons: in a request
// about a user, its sessions are those that name the user.
func ofRequest(all []statement, n, m int64) []statement {
	named := map[string]bool{}
	for _, s := range all {
		if s.names(n) || s.names(m) {
			named[s.session] = true
		}
	}
	if len(named) == 0 { // a listing names none
		return all
	}
	return slices.DeleteFunc(all, func(s statement) bool { return !named[s.session] })
}

func (s statement) names(number int64) bool {
	for _, value := range s.args {
		if value != nil && strings.Contains(*value, strconv.FormatInt(number, 10)) {
			return true
		}
	}
	return false
}

var parameter = regexp.MustCompile(`\$(\d+) = (NULL|'(?:[^']|'')*')`)

func parseParameters(detail string) map[int]*string {
	args := map[int]*string{}
	for _, match := range parameter.FindAllStringSubmatch(strings.TrimPrefix(detail, "parameters: "), -1) {
		number, _ := strconv.Atoi(match[1])
		args[number] = nil
		if match[2] != "NULL" {
			value := strings.ReplaceAll(match[2][1:len(match[2])-1], "''", "'")
			args[number] = &value
		}
	}
	return args
}
