package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/access"
	"aiadmin/pkg/user"
)

// operation is something that clients do, as often as they can.
type operation struct {
	name     string
	goal     float64 // the least ratio of the limit
	method   string
	path     string
	paths    []string // any of these instead, so that no two requests ask for the same
	header   map[string]string
	callers  []map[string]string // any of these headers besides, so that many keys are asked about
	body     string
	status   int
	subjects int // users per request; 0 is 1
	about    aim
	// sameDigest keeps a digest that was captured: the yardstick looks up one key again and again.
	sameDigest bool
	most       int64 // requests per measurement, where users run out; 0: no bound
	reads      bool  // though it is no GET
}

// aim says which users an operation is about.
type aim int

const (
	anyUser   aim = iota // any of those that differ by their number alone
	newUser              // one that does not exist yet
	goingUser            // one loaded to be deleted
)

const (
	usersPath  = "/ai/admin/users"
	oneUser    = usersPath + "/00000000-0000-7000-8000-" + subjectMark
	eventsPath = "/ai/admin/events"
	newBody    = `{"id":"00000000-0000-7000-8000-` + subjectMark + `","tag":"u-` + subjectMark + `","name":"Ada Lovelace ` + subjectMark +
		`","email":"u.` + subjectMark + `@example.com","metadata":{"team":"research"}}`
	batchSize = 1000
)

func (b *bench) operations(ctx context.Context) ([]operation, error) {
	deep, err := b.deepPages(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := b.loadKeys(ctx)
	if err != nil {
		return nil, err
	}
	asJSON := map[string]string{"Content-Type": "application/json"}
	return []operation{
		{name: "get", goal: .85, method: "GET", path: oneUser, status: 200},
		{name: "authorize", goal: .85, method: "GET", path: "/ai/admin/authorize/_", header: keys[0], callers: keys, status: 200, sameDigest: true},
		{name: "evaluations-50", method: "POST", path: "/access/v1/evaluations", header: asJSON, body: evaluations(50), status: 200, reads: true},
		{name: "list", goal: .75, method: "GET", path: usersPath, status: 200},
		{name: "list-filtered", goal: .75, method: "GET", path: usersPath + "?role=viewer&status=suspended", status: 200},
		{name: "list-role", goal: .75, method: "GET", path: usersPath + "?role=member", status: 200},
		{name: "by-email", goal: .6, method: "GET", path: usersPath + "?email=u." + subjectMark + "%40example.com", status: 200},
		{name: "list-deep", goal: .75, method: "GET", path: deep[0], paths: deep, status: 200},
		{name: "create", goal: .85, method: "POST", path: usersPath, header: asJSON, body: newBody, status: 201, about: newUser},
		{name: "update-limits", goal: .85, method: "PUT", path: oneUser, header: asJSON, body: `{"limits":{"tokensPerMinute":` + freshMark + `}}`, status: 200},
		{name: "update-name", goal: .85, method: "PUT", path: oneUser, header: asJSON, body: `{"name":"Grace Hopper ` + freshMark + `"}`, status: 200},
		{name: "update-metadata", goal: .85, method: "PUT", path: oneUser, header: asJSON, body: `{"metadata":{"seen":"` + freshMark + `"}}`, status: 200},
		{name: "delete", goal: .85, method: "DELETE", path: oneUser, status: 204, about: goingUser, most: 24000},
		{name: "event", goal: .85, method: "POST", path: eventsPath, body: newBody, status: 200, about: newUser,
			header: map[string]string{"Content-Type": "application/json", "ce-specversion": "1.0", "ce-source": "/bench",
				"ce-type": "ai.admin.user.create", "ce-id": "e-" + freshMark}},
		{name: "batch", goal: .8, method: "POST", path: eventsPath, body: batchOf(batchSize), status: 200, about: newUser, subjects: batchSize,
			header: map[string]string{"Content-Type": "application/cloudevents-batch+json"}},
	}, nil
}

func batchOf(size int) string {
	one := `{"specversion":"1.0","id":"e-` + freshMark + `","source":"/bench","type":"ai.admin.user.create","data":` + newBody + `}`
	return "[" + strings.TrimSuffix(strings.Repeat(one+",", size), ",") + "]"
}

// keysLoaded is how many keys are asked about.
const keysLoaded = 1000

// loadKeys gives the first users a key each, and returns the headers by which a gateway asks about them.
func (b *bench) loadKeys(ctx context.Context) ([]map[string]string, error) {
	var callers []map[string]string
	rows := pgx.CopyFromSlice(min(keysLoaded, int(b.alike())), func(i int) ([]any, error) {
		secret := access.NewSecret()
		hash := secret.Hash()
		callers = append(callers, map[string]string{"X-AI-Gateway-Token": b.token, "x-api-key": secret.Text().Reveal(), "X-AI-Model": "gpt-5"})
		return []any{user.NewID(), idOf(firstUser + int64(i)), time.Now(), time.Now(), hash[:], "active", secret.Hint(), "bench", "bench"}, nil
	})
	_, err := b.db.CopyFrom(ctx, pgx.Identifier{"keys"}, []string{"id", "user_id", "created_at", "last_used_at", "hash", "status", "hint", "name", "created_by"}, rows)
	if err == nil {
		_, err = b.db.Exec(ctx, "VACUUM ANALYZE keys")
	}
	return callers, err
}

// evaluations asks about so many models of one user.
func evaluations(count int) string {
	body := `{"subject":{"type":"user","id":"00000000-0000-7000-8000-` + subjectMark + `"},"action":{"name":"use"},"evaluations":[`
	for i := range count {
		body += fmt.Sprintf(`{"resource":{"type":"model","id":"model-%d"}},`, i)
	}
	return strings.TrimSuffix(body, ",") + "]}"
}

func (b *bench) request(o operation) template {
	return raw(o.method, o.path, b.token, o.header, o.body)
}

// others are the requests of an operation that are not about users of a number each.
func (b *bench) others(o operation) []template {
	var all []template
	for _, path := range o.paths {
		all = append(all, raw(o.method, path, b.token, o.header, o.body))
	}
	for _, caller := range o.callers {
		all = append(all, raw(o.method, o.path, b.token, caller, o.body))
	}
	return all
}

func (o operation) changes() bool { return o.method != "GET" && !o.reads }

// count is how many users one request is about.
func (o operation) count() int64 { return int64(max(1, o.subjects)) }

// aimed returns what picks the numbers of an operation's next request.
func (b *bench) aimed(o operation, firstVictim int64) func(*rand.Rand) (n, m int64) {
	victims := firstVictim
	next := make(chan int64, 1)
	next <- victims
	return func(random *rand.Rand) (n, m int64) {
		m = b.numbers.take(&b.numbers.fresh, firstFresh, o.count())
		switch o.about {
		case newUser:
			n = b.numbers.take(&b.numbers.created, firstCreated, o.count())
		case goingUser:
			n = <-next
			next <- n + 1
		default:
			n = firstUser + random.Int64N(b.alike())
		}
		return n, m
	}
}

// once makes one request and returns the answer with the numbers that were used.
func (b *bench) once(ctx context.Context, o operation) (a answer, n, m int64, err error) {
	var first int64
	if o.about == goingUser {
		if first, err = b.victims(ctx, 1); err != nil {
			return a, 0, 0, err
		}
	}
	n, m = b.aimed(o, first)(rand.New(rand.NewPCG(1, uint64(b.numbers.fresh.Load())))) //nolint:gosec // any user will do
	request := b.request(o)
	request.fill(n, m, int(o.count()))
	conn, err := net.Dial("tcp", b.service.address)
	if err != nil {
		return a, 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(request.text); err != nil {
		return a, 0, 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: o.method})
	if err != nil {
		return a, 0, 0, err
	}
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != o.status {
		err = fmt.Errorf("%s: %s: %s", o.name, response.Status, body[:min(500, len(body))])
	}
	response.Header.Del("Date") // the server writes its own
	return answer{response.StatusCode, response.Header, bytes.Clone(body)}, n, m, err
}

// deepPages are the paths of up to a thousand pages of 50 behind the ten thousandth user, or the
// last but one page: no two of them are the same.
func (b *bench) deepPages(ctx context.Context) ([]string, error) {
	cursor := ""
	for range min(20, b.options.Users/500-1) {
		var err error
		if cursor, err = b.nextCursor(ctx, usersPath+"?limit=500&count=none", cursor); err != nil {
			return nil, err
		}
	}
	var paths []string
	for cursor != "" && len(paths) < 1000 {
		paths = append(paths, usersPath+"?cursor="+cursor)
		var err error
		if cursor, err = b.nextCursor(ctx, usersPath+"?limit=50&count=none", cursor); err != nil {
			return nil, err
		}
	}
	return paths[:max(1, len(paths)-1)], nil // the last page may be a short one
}

// nextCursor is where the page behind a cursor ends; "" on the last page.
func (b *bench) nextCursor(ctx context.Context, path, cursor string) (string, error) {
	if cursor != "" {
		path += "&cursor=" + cursor
	}
	a, _, _, err := b.once(ctx, operation{name: "walk", method: "GET", path: path, status: 200})
	if err != nil {
		return "", err
	}
	var page struct{ Page struct{ Next string } }
	err = json.Unmarshal(a.Body, &page)
	return page.Page.Next, err
}
