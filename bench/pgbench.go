package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// script is a pgbench script that runs captured statements with numbers of its own.
type script struct {
	text      string
	variables []string // name=value
	// sameDigest keeps digests as they were captured.
	sameDigest bool
}

// maxClients bounds pgbench's connections: on two cores more of them are slower, so that
// a bound favours the yardstick. The service itself has 12.
const maxClients = 16

var placeholder = regexp.MustCompile(`\$(\d+)(::\w+(?:\[\])?)?`)

// scriptOf makes the statements of the request with numbers n and m into a script. What
// bears these numbers gets each transaction's own; so do event ids, the keys of claims
// and the partition, which the service makes up; all else is sent as it was.
func scriptOf(statements []statement, n, m int64, sameDigest bool) script {
	s := script{sameDigest: sameDigest}
	var b strings.Builder
	for i, captured := range statements {
		b.WriteString(s.parametrized(captured, i, n, m) + ";\n")
	}
	s.text = b.String()
	return s
}

func (s *script) parametrized(captured statement, index int, n, m int64) string {
	expressions := map[int]string{}
	for number, value := range captured.args {
		switch {
		case value == nil:
			expressions[number] = "NULL"
		case *value == "": // which is no variable of pgbench's
			expressions[number] = "''"
		case s.sameDigest && isDigest(*value):
			expressions[number] = "'" + *value + "'"
		default:
			name := fmt.Sprintf("p%d_%d", index, number)
			expression, constant := expressionOf(name, *value, captured.text, n, m)
			expressions[number] = expression
			if constant {
				s.variables = append(s.variables, name+"="+*value)
			}
		}
	}
	return placeholder.ReplaceAllStringFunc(captured.text, func(found string) string {
		match := placeholder.FindStringSubmatch(found)
		number, _ := strconv.Atoi(match[1])
		if match[2] == "::smallint" {
			return "(:u::bigint % 16)::smallint" // the partition
		}
		return expressions[number] + match[2]
	})
}

// expressionOf is the SQL for a parameter of a statement, and whether it uses a variable of that name.
func expressionOf(name, value, text string, n, m int64) (expression string, constant bool) {
	subject, fresh := strconv.FormatInt(n, 10), strconv.FormatInt(m, 10)
	switch {
	case value == fresh:
		return ":m", false
	case strings.Contains(value, subject) || strings.Contains(value, fresh):
		expression = ":" + name
		if strings.Contains(value, subject) {
			expression = "replace(" + expression + ", '" + subject + "', :n::text)"
		}
		if strings.Contains(value, fresh) {
			expression = "replace(" + expression + ", '" + fresh + "', :m::text)"
		}
		if _, err := uuid.Parse(value); err == nil && len(value) == 36 { // {…} is an array
			expression += "::uuid"
		}
		return "(" + expression + ")", true
	}
	if element, inArray := strings.CutPrefix(value, "{"); inArray { // of one row
		element = strings.ReplaceAll(strings.Trim(element, `"}`), `\\`, `\`)
		switch {
		case isEventID(element):
			return "('{" + element[:24] + "' || :u || '}')", false
		case isDigest(element):
			return `('{"\' || sha256(:u::text::bytea)::text || '"}')::bytea[]`, false
		case strings.Contains(text, "advisory_xact_lock"):
			return "('{' || :u::bigint * 7919 || '}')", false
		}
	}
	switch {
	case isEventID(value):
		return "('" + value[:24] + "' || :u)::uuid", false
	case isDigest(value):
		return "sha256(:u::text::bytea)", false
	}
	return ":" + name, true
}

func isEventID(value string) bool {
	id, err := uuid.Parse(value)
	return err == nil && id.Version() == 7 && len(value) == 36
}

func isDigest(value string) bool {
	sum, err := hex.DecodeString(strings.TrimPrefix(value, `\x`))
	return err == nil && strings.HasPrefix(value, `\x`) && len(sum) == 32
}

// pgbench runs a script on so many connections and returns its transactions per second.
func (b *bench) pgbench(ctx context.Context, o operation, s script, connections int) (float64, error) {
	connections = min(connections, maxClients)
	const room = 10_000_000 // numbers per connection; they take turns, so that ids grow with time as the service's do
	fresh := b.numbers.take(&b.numbers.fresh, firstFresh, room*int64(connections))
	subject := fmt.Sprintf("random(%d, %d)", firstUser, firstUser+b.alike()-1)
	howLong := []string{"-T", strconv.Itoa(max(1, int(b.options.Slot.Round(time.Second).Seconds())))}
	switch o.about {
	case newUser:
		first := b.numbers.take(&b.numbers.created, firstCreated, room*int64(connections))
		subject = fmt.Sprintf("%d + (:i - 1) * %d + :client_id", first, connections)
	case goingUser:
		each := o.most / int64(connections)
		first, err := b.victims(ctx, each*int64(connections))
		if err != nil {
			return 0, err
		}
		subject = fmt.Sprintf("%d + (:i - 1) * %d + :client_id", first, connections)
		howLong = []string{"-t", strconv.FormatInt(each, 10)}
	}
	statements := s.text
	if o.changes() { // a change's transaction in one round trip: nobody can do with fewer
		statements = "\\startpipeline\n" + statements + "\\endpipeline\n"
	}
	text := fmt.Sprintf("\\set i :i + 1\n\\set n %s\n\\set m %d + (:i - 1) * %d + :client_id\n\\set u :m\n%s", subject, fresh, connections, statements)
	file := filepath.Join(b.folder, o.name+".sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return 0, err
	}
	args := append([]string{"-n", "-M", "prepared", "-c", strconv.Itoa(connections), "-j", strconv.Itoa(min(2, connections)),
		"-f", file, "-D", "i=0"}, howLong...)
	for _, v := range s.variables {
		args = append(args, "-D", v)
	}
	before, err := b.changed(ctx)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.cluster.Program("pgbench"), append(args, b.cluster.URL(database))...)
	out, err := cmd.CombinedOutput()
	rate, processed := perSecond.FindSubmatch(out), transactions.FindSubmatch(out)
	if err != nil || rate == nil || processed == nil {
		return 0, fmt.Errorf("pgbench of %s: %w\n%s\n%s", o.name, err, out, text)
	}
	if o.changes() {
		if err := b.checkChanged(ctx, before, string(processed[1])); err != nil {
			return 0, fmt.Errorf("pgbench of %s: %w\n%s", o.name, err, text)
		}
	}
	return strconv.ParseFloat(string(rate[1]), 64)
}

var (
	perSecond    = regexp.MustCompile(`tps = ([0-9.]+) \(without initial`)
	transactions = regexp.MustCompile(`transactions actually processed: (\d+)`)
)

// changed is how often rows of users were changed so far.
func (b *bench) changed(ctx context.Context) (rows int64, err error) {
	err = b.db.QueryRow(ctx, "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'users'").Scan(&rows)
	return rows, err
}

// checkChanged fails unless nearly every transaction has changed a user: statements that find nobody are fast.
func (b *bench) checkChanged(ctx context.Context, before int64, processed string) error {
	wanted, err := strconv.ParseInt(processed, 10, 64)
	if err != nil {
		return err
	}
	time.Sleep(time.Second) // sessions report what they did when they end
	after, err := b.changed(ctx)
	if err == nil && (wanted == 0 || after-before < wanted*9/10) {
		err = fmt.Errorf("%d transactions changed %d users", wanted, after-before)
	}
	return err
}
