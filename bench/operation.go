package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
)

// operation is something that clients do, as often as they can.
type operation struct {
	name   string
	goal   float64 // the least ratio of the limit, for more than one connection; 0 is no goal
	line   string  // method and path
	header string  // lines besides those of every request
	body   string
	status int // of success
	about  aim
	users  int64 // that one request is about; 0 is 1
	writes bool  // that is, each request changes its users
	// vary returns several requests in this one's place, of which each client picks any.
	vary func(*bench, context.Context, operation) ([]template, error)
}

// aim is which users an operation is about.
type aim int

const (
	anyUser   aim = iota // any of those that differ in their number alone
	newUser              // one that does not exist yet
	goingUser            // one loaded to be deleted
)

const (
	usersPath = "/ai/admin/users"
	oneUser   = usersPath + "/00000000-0000-7000-8000-100000000000"
	asJSON    = "Content-Type: application/json\r\n"
)

var get = operation{name: "get", goal: .85, line: "GET " + oneUser, status: 200}

// operations are all that is measured beside a limit. The numbers in their requests, 100000000000 of a
// user and 500000000000 of a value, are overwritten each time.
func operations() []operation {
	return []operation{
		get,
		{name: "authorize", goal: .85, line: "GET /ai/admin/authorize/_", status: 200, vary: (*bench).loadKeys},
		{name: "evaluations-50", line: "POST /access/v1/evaluations", header: asJSON, status: 200,
			body: `{"subject":{"type":"user","id":"00000000-0000-7000-8000-100000000000"},"action":{"name":"use"},"evaluations":` +
				list(50, evaluation) + "}"},
		{name: "list", goal: .75, line: "GET " + usersPath, status: 200},
		{name: "list-filtered", goal: .75, line: "GET " + usersPath + "?role=viewer&status=suspended", status: 200},
		{name: "list-role", goal: .75, line: "GET " + usersPath + "?role=member", status: 200},
		{name: "by-email", goal: .6, line: "GET " + usersPath + "?email=u.100000000000%40example.com", status: 200},
		{name: "list-deep", goal: .75, line: "GET " + usersPath, status: 200, vary: (*bench).deepPages},
		{name: "create", goal: .85, line: "POST " + usersPath, header: asJSON, body: userBody(0), status: 201,
			about: newUser, writes: true},
		update("update-limits", `{"limits":{"tokensPerMinute":500000000000}}`),
		update("update-name", `{"name":"Grace Hopper 500000000000"}`),
		update("update-metadata", `{"metadata":{"seen":"500000000000"}}`),
		{name: "delete", goal: .85, line: "DELETE " + oneUser, status: 204, about: goingUser, writes: true},
		{name: "event", goal: .85, line: "POST /ai/admin/events", body: userBody(0), status: 200, about: newUser,
			writes: true, header: asJSON + "ce-specversion: 1.0\r\nce-source: /bench\r\n" +
				"ce-type: ai.admin.user.create\r\nce-id: e-500000000000\r\n"},
		{name: "batch", goal: .8, line: "POST /ai/admin/events", body: list(1000, event), status: 200, about: newUser,
			writes: true, users: 1000, header: "Content-Type: application/cloudevents-batch+json\r\n"},
	}
}

func update(name, body string) operation {
	return operation{name: name, goal: .85, line: "PUT " + oneUser, header: asJSON, body: body, status: 200, writes: true}
}

// userBody is the i-th new user of a request.
func userBody(i int64) string {
	return fmt.Sprintf(`{"id":"00000000-0000-7000-8000-%[1]d","tag":"u-%[1]d","name":"Ada Lovelace %[1]d",`+
		`"email":"u.%[1]d@example.com","metadata":{"team":"research"}}`, firstUser+i)
}

func event(i int64) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"e-%d","source":"/bench","type":"ai.admin.user.create","data":%s}`,
		firstFresh+i, userBody(i))
}

func evaluation(i int64) string {
	return fmt.Sprintf(`{"resource":{"type":"model","id":"model-%d"}}`, i)
}

// list is a JSON array of count elements.
func list(count int64, element func(int64) string) string {
	all := make([]string, count)
	for i := range all {
		all[i] = element(int64(i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

// request is the operation's request as it goes over the wire.
func (b *bench) request(o operation) template {
	header := o.header
	if !strings.Contains(header, "X-API-Key") { // or the token would be a second key
		header += "Authorization: Bearer " + b.token + "\r\n"
	}
	text := fmt.Sprintf("%s HTTP/1.1\r\nHost: ai-admin\r\n%sContent-Length: %d\r\n\r\n%s", o.line, header, len(o.body), o.body)
	return newTemplate(text, firstUser, firstFresh, o.count(), nil)
}

func (o operation) count() int64 { return max(1, o.users) }

// next returns the numbers of an operation's next request: its first user's, and that of its first value.
func (b *bench) next(o operation) (n, m int64) {
	count := o.count()
	m = firstFresh + b.used.Add(count) - count
	switch o.about {
	case newUser:
		return firstCreated + b.created.Add(count) - count, m
	case goingUser:
		return firstVictim + b.deleted.Add(count) - count, m
	default:
		return firstUser + rand.Int64N(b.alike()), m
	}
}

// once makes one request and returns the answer with the numbers that were used.
func (b *bench) once(ctx context.Context, to *process, o operation, request template) (a answer, n, m int64, err error) {
	if o.about == goingUser {
		if err := b.loadVictims(ctx, 1); err != nil {
			return a, 0, 0, err
		}
	}
	n, m = b.next(o)
	conn, err := net.Dial("tcp", to.address)
	if err != nil {
		return a, 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	response, err := call(conn, bufio.NewReader(conn), request.render(n, m))
	if err != nil {
		return a, 0, 0, err
	}
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != o.status {
		err = fmt.Errorf("%s: %s: %s", o.name, response.Status, body[:min(500, len(body))])
	}
	response.Header.Del("Date") // the server writes its own
	return answer{response.StatusCode, response.Header, body}, n, m, err
}

// deepPages returns an operation's request for each of a thousand pages behind the ten thousandth user, or in a small
// table from the last page but one: no two are the same.
func (b *bench) deepPages(ctx context.Context, o operation) (each []template, err error) {
	first := min(200, b.options.Users/50-2)
	walk := operation{name: "walk", line: "GET " + usersPath + "?count=none", status: 200}
	for page := 1; page < first+1000; page++ {
		a, _, _, err := b.once(ctx, b.service, walk, b.request(walk))
		if err != nil {
			return nil, err
		}
		var answer struct{ Page struct{ Next string } }
		if err := json.Unmarshal(a.Body, &answer); err != nil || answer.Page.Next == "" {
			return each, err
		}
		walk.line = "GET " + usersPath + "?count=none&cursor=" + answer.Page.Next
		if page >= first {
			o.line = "GET " + usersPath + "?cursor=" + answer.Page.Next
			each = append(each, b.request(o))
		}
	}
	return each, nil
}
