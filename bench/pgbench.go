package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
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
}

// maxClients bounds pgbench's connections: on two cores more of them are slower, so that
// a bound favours the yardstick. The service itself has 12.
const maxClients = 16

var (
	placeholder = regexp.MustCompile(`\$(\d+)(::\w+(?:\[\])?)?`)
	versionNext = regexp.MustCompile(`version = \$(\d+) - 1 AND created_at = \$(\d+)`)
)

// scriptOf makes the statements of the request with numbers n and m into a script. What
// bears these numbers gets each transaction's own; so do event ids, the keys of claims
// and the partition, which the service makes up; all else is sent as it was.
func scriptOf(statements []statement, n, m int64) script {
	var s script
	var b strings.Builder
	for i, captured := range statements {
		text := s.parametrized(captured, i, n, m)
		b.WriteString(text)
		// An update names the version that it read, and the time of creation.
		if i+1 < len(statements) && versionNext.MatchString(statements[i+1].text) {
			b.WriteString("\n\\gset\n")
		} else {
			b.WriteString(";\n")
		}
	}
	s.text = b.String()
	return s
}

func (s *script) parametrized(captured statement, index int, n, m int64) string {
	next, created := 0, 0
	if match := versionNext.FindStringSubmatch(captured.text); match != nil && index > 0 {
		next, _ = strconv.Atoi(match[1])
		created, _ = strconv.Atoi(match[2])
	}
	expressions := map[int]string{}
	for number, value := range captured.args {
		switch {
		case value == nil:
			expressions[number] = "NULL"
		case number == next:
			expressions[number] = "(:version + 1)"
		case number == created:
			expressions[number] = ":created_at"
		case *value == "": // which is no variable of pgbench's
			expressions[number] = "''"
		default:
			name := fmt.Sprintf("p%d_%d", index, number)
			expression, constant := expressionOf(name, *value, captured.args, n, m)
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

// expressionOf is the SQL for a parameter, and whether it uses a variable of that name.
func expressionOf(name, value string, all map[int]*string, n, m int64) (expression string, constant bool) {
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
	case isEventID(value):
		return "('" + value[:24] + "' || :u)::uuid", false
	case isDigest(value):
		return "sha256(:u::text::bytea)", false
	case isLockKey(value, all):
		return "(:u::bigint * 7919)", false
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

// isLockKey says whether a number is the beginning of a digest: the lock of a claim.
func isLockKey(value string, all map[int]*string) bool {
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil || number > -math.MaxInt32 && number < math.MaxInt32 {
		return false
	}
	for _, other := range all {
		if other != nil && isDigest(*other) {
			sum, _ := hex.DecodeString((*other)[2:18])
			return binary.BigEndian.Uint64(sum) == uint64(number) //nolint:gosec // the bits are compared
		}
	}
	return false
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
	text := fmt.Sprintf("\\set i :i + 1\n\\set n %s\n\\set m %d + (:i - 1) * %d + :client_id\n\\set u :m\n%s", subject, fresh, connections, s.text)
	file := filepath.Join(b.folder, o.name+".sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return 0, err
	}
	args := append([]string{"-n", "-M", "prepared", "-c", strconv.Itoa(connections), "-j", strconv.Itoa(min(2, connections)),
		"-f", file, "-D", "i=0"}, howLong...)
	for _, v := range s.variables {
		args = append(args, "-D", v)
	}
	cmd := exec.CommandContext(ctx, b.cluster.Program("pgbench"), append(args, b.cluster.URL(database))...)
	out, err := cmd.CombinedOutput()
	match := perSecond.FindSubmatch(out)
	if err != nil || match == nil {
		return 0, fmt.Errorf("pgbench of %s: %w\n%s\n%s", o.name, err, out, text)
	}
	return strconv.ParseFloat(string(match[1]), 64)
}

var perSecond = regexp.MustCompile(`tps = ([0-9.]+) \(without initial`)
