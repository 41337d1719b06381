package blackbox

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// post creates a user.
func (s *service) post(t testing.TB, body string) (made struct{ ID string }) {
	t.Helper()
	s.do(t, "POST", usersPath, body).is(t, http.StatusCreated).decode(t, &made)
	return made
}

// file is an answer that is a file, with its trailer.
type file struct {
	answer
	trailer http.Header
}

// fetch asks for a file.
func (s *service) fetch(t testing.TB, path string, headers ...string) file {
	t.Helper()
	resp, err := s.client.Do(s.request(t, "GET", path, "", headers...))
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return file{answer{resp.StatusCode, resp.Header, body, "GET " + path}, resp.Trailer}
}

// imports sends a file and returns the answer's lines, without progress.
func (s *service) imports(t testing.TB, query, mediaType, content string, headers ...string) (results []map[string]any, summary map[string]any) {
	t.Helper()
	req := s.request(t, "POST", usersPath+"/import"+query, content, append([]string{"Content-Type", mediaType}, headers...)...)
	resp, err := s.client.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("import: %d %s", resp.StatusCode, body)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var line map[string]any
		must(t, json.Unmarshal(lines.Bytes(), &line))
		switch {
		case line["summary"] != nil:
			summary, _ = line["summary"].(map[string]any)
		case line["progress"] == nil:
			results = append(results, line)
		}
	}
	if summary == nil {
		t.Fatal("the answer has no summary")
	}
	return results, summary
}

const (
	ndjson = "application/x-ndjson"
	csvs   = "text/csv"
)

// brief writes results as "line status[ code]".
func brief(results []map[string]any) (short []string) {
	for _, r := range results {
		text := fmt.Sprintf("%v %v", r["line"], r["status"])
		if p, ok := r["problem"].(map[string]any); ok {
			text += fmt.Sprint(" ", p["errorCode"])
		}
		short = append(short, text)
	}
	return short
}

func TestExportIsAllUsersOfOneState(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for i := range 60 {
		s.post(t, fmt.Sprintf(`{"tag":"user%02d","name":"U","role":%q,"metadata":{"team":"t%d"}}`, i, []string{"member", "viewer"}[i%2], i%3))
	}
	exported := s.fetch(t, usersPath+"?role=viewer&sort=tag", "Accept", "text/csv;q=0.5, application/x-ndjson")
	exported.is(t, http.StatusOK)
	if got := exported.header.Get("Content-Type"); got != ndjson {
		t.Errorf("Content-Type %s", got)
	}
	lines := strings.Split(strings.TrimSuffix(string(exported.body), "\n"), "\n")
	if len(lines) != 31 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines[:30] {
		var u struct{ ID, Tag string }
		must(t, json.Unmarshal([]byte(line), &u))
		if u.Tag != fmt.Sprintf("user%02d", 2*i+1) || line != string(s.do(t, "GET", usersPath+"/"+u.ID, "").is(t, 200).body) {
			t.Errorf("line %d: %s", i, line)
		}
	}
	var last struct {
		End struct {
			Users  int
			Cursor string
		}
	}
	must(t, json.Unmarshal([]byte(lines[30]), &last))
	if last.End.Users != 30 {
		t.Errorf("the end says %s", lines[30])
	}
	later := s.post(t, `{"tag":"later","name":"L"}`)
	var feed struct{ Changes []struct{ Subject string } }
	// Once older transactions, of other tests as well, are over. While they last, the cursor is before them, and the
	// feed has again what the export has.
	eventually(t, "the feed shows what came after the export", func() bool {
		s.do(t, "GET", "/ai/admin/changes?limit=500&after="+last.End.Cursor, "").is(t, 200).decode(t, &feed)
		return len(feed.Changes) > 0 && feed.Changes[len(feed.Changes)-1].Subject == later.ID
	})
	for path, field := range map[string]string{
		"?format=ndjson&limit=5": "limit", "?format=csv&page=2": "page", "?format=csv&cursor=x": "cursor", "?format=xml": "format",
		"?format=ndjson&metadata=team": "metadata", "?format=csv&metadata=team,team": "metadata", "?format=csv&rolle=x": "rolle", "?metadata=team": "metadata",
	} {
		p := s.fetch(t, usersPath+path).is(t, http.StatusBadRequest).problem(t)
		if len(p.Details) != 1 || p.Details[0].Field != field {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for path, count := range map[string]int{"/ai/admin/changes?format=ndjson": 61, usersPath + "/" + later.ID + "/history?format=ndjson": 1,
		"/ai/admin/changes?format=ndjson&after=" + last.End.Cursor: 1, "/ai/admin/audit?format=ndjson&action=users.exported": 1} {
		f := s.fetch(t, path)
		f.is(t, http.StatusOK)
		if got := bytes.Count(f.body, []byte("\n")); got < count+1 || !bytes.Contains(f.body, []byte(`{"end":{"count":`)) {
			t.Errorf("%s: %d lines, %s", path, got, f.body)
		}
	}
	var audit struct {
		Audit []struct{ UserID string }
	}
	s.do(t, "GET", "/ai/admin/audit?action=users.exported&userId="+later.ID, "").is(t, 200).decode(t, &audit)
	refused := s.do(t, "GET", "/ai/admin/audit?action=users.exported&limit=500", "").is(t, 200)
	s.do(t, "GET", "/ai/admin/changes?format=ndjson&after=x", "").fails(t, 400, "VALIDATION_ERROR", "after")
	s.do(t, "GET", usersPath+"/"+"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f/history?format=ndjson", "").fails(t, 404, "NOT_FOUND")
	if after := s.do(t, "GET", "/ai/admin/audit?action=users.exported&limit=500", "").is(t, 200); string(after.body) != string(refused.body) {
		t.Errorf("a refused export is recorded as one: %s", after.body)
	}
	if len(audit.Audit) != 1 || audit.Audit[0].UserID != later.ID {
		t.Errorf("the export of a history is recorded as %+v", audit.Audit)
	}
}

// tricky are values that a file can garble.
var tricky = []string{
	`{"tag":"plain","name":"Ann","email":"ann@example.com","userName":"null","externalId":"a\r\nb\n,\"c\"","limits":{"tokensPerMinute":7,"monthlyBudgetUSD":12.5},"metadata":{"team":"a,\"b\"\r\n","n":1.50,"deep":{"x":[1,"\r"]}}}`,
	`{"tag":"quoted","name":"null","userName":"\"null\"","externalId":"\"\"null\"\"","models":[],"role":"admin","status":"suspended","expiresAt":"2030-01-01T00:00:00.000000Z"}`,
	`{"tag":"bare","name":"Ünïcödé 🔑","externalId":"\r","models":["gpt-5*","a,b"],"metadata":{"team":null,"x":"=1+1"}}`,
}

func withoutMade(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var u map[string]any
	must(t, json.Unmarshal(body, &u))
	maps.DeleteFunc(u, func(name string, _ any) bool {
		return slices.Contains([]string{"createdAt", "updatedAt", "version"}, name)
	})
	return u
}

func TestFilesGoFromOneServiceToAnother(t *testing.T) {
	t.Parallel()
	from := serve(t, database(t))
	for _, body := range tricky {
		from.post(t, body)
	}
	exported := from.fetch(t, usersPath+"?sort=tag", "Accept", "text/csv")
	exported.is(t, http.StatusOK)
	if got := exported.trailer.Get("X-Total-Users"); got != "3" {
		t.Errorf("X-Total-Users %q", got)
	}
	if !bytes.Contains(exported.body, []byte("\"a\r\nb\n,\"\"c\"\"\"")) || !bytes.HasSuffix(exported.body, []byte("\r\n")) {
		t.Errorf("line breaks were changed: %q", exported.body)
	}
	if rows, err := csv.NewReader(bytes.NewReader(exported.body)).ReadAll(); err != nil || len(rows) != 4 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	for mediaType, content := range map[string]file{csvs: exported, ndjson: from.fetch(t, usersPath+"?format=ndjson&sort=tag")} {
		to := serve(t, database(t))
		results, summary := to.imports(t, "", mediaType, string(content.body))
		if len(results) != 3 || summary["created"] != 3. || summary["doneThrough"] != nil {
			t.Fatalf("%s: %v, %v", mediaType, results, summary)
		}
		for _, tag := range []string{"plain", "quoted", "bare"} {
			want := withoutMade(t, from.do(t, "GET", usersPath+"/tag:"+tag, "").is(t, 200).body)
			got := withoutMade(t, to.do(t, "GET", usersPath+"/tag:"+tag, "").is(t, 200).body)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-exported +imported):\n%s", mediaType, tag, diff)
			}
		}
		results, summary = to.imports(t, "?mode=upsert", mediaType, string(content.body))
		if summary["unchanged"] != 3. {
			t.Errorf("%s again: %v, %v", mediaType, results, summary)
		}
	}
	team := from.fetch(t, usersPath+"?format=csv&sort=tag&metadata=team,missing")
	if rows, err := csv.NewReader(bytes.NewReader(team.body)).ReadAll(); err != nil || !slices.Contains(rows[0], "metadata.team") || slices.Contains(rows[0], "metadata") {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestImportJudgesEachLine(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	s.post(t, `{"tag":"there","name":"T","email":"t@x.example","externalId":"e1"}`)
	content := strings.Join([]string{
		`{"tag":"one","name":"1"}`,
		``,
		`{"tag":"there","name":"again"}`,
		`{"tag":"bad","name":"","rolle":"x"}`,
		`not json`,
		`{"tag":"one","name":"again"}`,
		`{"end":{"users":3,"cursor":"x"}}`,
		`{"tag":"two","name":"2","version":7,"createdAt":"2020-01-01T00:00:00Z","keys":[],"credentials":[{"provider":"openai"}]}`,
	}, "\n")
	want := []string{"1 201", "3 409 DUPLICATE_TAG", "4 400 VALIDATION_ERROR", "5 400 MALFORMED_BODY", "6 409 DUPLICATE_TAG", "8 201"}
	for _, query := range []string{"?dryRun=true", ""} {
		results, summary := s.imports(t, query, ndjson, content)
		if diff := cmp.Diff(want, brief(results)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
		if summary["created"] != 2. || summary["failed"] != 4. {
			t.Errorf("%s: %v", query, summary)
		}
		if query != "" {
			s.do(t, "GET", usersPath+"/tag:one", "").is(t, http.StatusNotFound)
		}
	}
	results, _ := s.imports(t, "?mode=update", csvs, "tag,name,email,limits.tokensPerMinute,metadata.team\r\none,New,null,,a\r\nnobody,N,,,\r\nthere,,null,5,\r\n,x,,,\r\n")
	if diff := cmp.Diff([]string{"2 200", "3 404 NOT_FOUND", "4 200", "5 400 VALIDATION_ERROR"}, brief(results)); diff != "" {
		t.Errorf("update (-want +got):\n%s", diff)
	}
	var there struct {
		Name   string
		Email  *string
		Limits struct{ TokensPerMinute int }
	}
	s.do(t, "GET", usersPath+"/tag:there", "").is(t, 200).decode(t, &there)
	if there.Name != "T" || there.Email != nil || there.Limits.TokensPerMinute != 5 {
		t.Errorf("after the update: %+v", there)
	}
	results, _ = s.imports(t, "?mode=delete&match=externalId&results=failed", ndjson, `{"externalId":"e1"}`+"\n"+`{"externalId":"e1"}`)
	if diff := cmp.Diff([]string{"2 404 NOT_FOUND"}, brief(results)); diff != "" {
		t.Errorf("delete (-want +got):\n%s", diff)
	}
	refused := s.do(t, "POST", usersPath+"/import?mode=all&match=name&dryRun=1&x=y", "{}", "Content-Type", ndjson).is(t, http.StatusBadRequest).problem(t)
	if len(refused.Details) != 4 {
		t.Errorf("%+v", refused)
	}
	columns := s.do(t, "POST", usersPath+"/import", "tag,rolle,name,tag\n", "Content-Type", csvs).is(t, http.StatusBadRequest).problem(t)
	if len(columns.Details) != 2 || columns.Details[0].Field != "rolle" || columns.Details[1].Field != "tag" {
		t.Errorf("%+v", columns)
	}
	s.do(t, "POST", usersPath+"/import", "{}").is(t, http.StatusUnsupportedMediaType)
	long := `{"tag":"long","name":"` + strings.Repeat("x", 1<<20) + `"}` + "\n" + `{"tag":"short","name":"s"}`
	results, _ = s.imports(t, "", ndjson, long)
	if diff := cmp.Diff([]string{"1 413 BODY_TOO_LARGE", "2 201"}, brief(results)); diff != "" {
		t.Errorf("a long line (-want +got):\n%s", diff)
	}
	scraped, err := s.client.Get(s.metrics + "/metrics")
	must(t, err)
	metrics, err := io.ReadAll(scraped.Body)
	_ = scraped.Body.Close()
	must(t, err)
	if !strings.Contains(string(metrics), `ai_admin_imported_lines_total{outcome="deleted"} 1`) {
		t.Errorf("no metric tells of the import: %s", metrics)
	}
	var log struct {
		Audit []struct {
			Action, Outcome string
			Detail          map[string]any
		}
	}
	s.do(t, "GET", "/ai/admin/audit?action=users.imported", "").is(t, 200).decode(t, &log)
	if len(log.Audit) != 4 || log.Audit[3].Detail["count"] != 2. || log.Audit[3].Detail["mode"] != "create" {
		t.Errorf("the audit log has %+v", log.Audit)
	}
}

func TestImportIsRepeatedByItsKey(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	lines := []string{`{"tag":"one","name":"1"}`, `{"tag":"two","name":"2"}`, `{"tag":"","name":"3"}`}
	send := func(content string) []map[string]any {
		results, _ := s.imports(t, "", ndjson, content, "Idempotency-Key", "monday")
		return results
	}
	first := send(strings.Join(lines[:2], "\n"))
	lines[2] = `{"tag":"three","name":"3"}`
	again := send(strings.Join(lines, "\n"))
	if diff := cmp.Diff(first, again[:2]); diff != "" || brief(again)[2] != "3 201" {
		t.Errorf("sent again: %v (-first +again):\n%s", brief(again), diff)
	}
	lines[1] = `{"tag":"zwei","name":"2"}`
	if diff := cmp.Diff([]string{"1 201", "2 422 IDEMPOTENCY_KEY_REUSED", "3 201"}, brief(send(strings.Join(lines, "\n")))); diff != "" {
		t.Errorf("with another line 2 (-want +got):\n%s", diff)
	}
	var list struct{ Page struct{ Total int } }
	s.do(t, "GET", usersPath+"?count=exact", "").is(t, 200).decode(t, &list)
	if list.Page.Total != 3 {
		t.Errorf("%d users", list.Page.Total)
	}
}

// TestRefusedFilesLeaveTheConnectionWhole: what is left unread of a file that is refused disturbs nothing that the
// client sends over the same connection.
func TestRefusedFilesLeaveTheConnectionWhole(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	conn, answers := net.Conn(nil), (*bufio.Reader)(nil)
	t.Cleanup(func() {
		if conn != nil {
			_ = conn.Close()
		}
	})
	send := func(mediaType, content string) (status int, body string) {
		if conn == nil {
			var err error
			conn, err = net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			must(t, err)
			answers = bufio.NewReader(conn)
		}
		_, err := fmt.Fprintf(conn, "POST %s/import?mode=upsert HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			usersPath, adminToken, mediaType, len(content), content)
		must(t, err)
		answer, err := http.ReadResponse(answers, nil)
		must(t, err)
		text, err := io.ReadAll(answer.Body)
		must(t, err)
		if answer.Close {
			must(t, conn.Close())
			conn = nil
		}
		return answer.StatusCode, string(text)
	}
	for range 300 {
		if status, body := send(csvs, "tag,foo\n"+strings.Repeat("a,b\n", 1500)); status != http.StatusBadRequest || !strings.Contains(body, "foo") {
			t.Fatalf("an unknown column: %d %s", status, body)
		}
		if status, body := send(ndjson, `{"tag":"one","name":"1"}`+"\n"); status != http.StatusOK || !strings.Contains(body, `"failed":0`) {
			t.Fatalf("the next import: %d %s", status, body)
		}
	}
}
