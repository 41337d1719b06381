package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aiadmin/pkg/user"
)

// transferring answers exports and imports for the service.
type transferring struct {
	Admin
	export   func(ctx context.Context, yield func(*user.User) error) error
	applyAll func(ctx context.Context, commands []user.Command) ([]user.Result, error)
}

func (f transferring) Audit(context.Context, user.AuditEntry) error { return nil }

func (f transferring) Export(ctx context.Context, _ user.Query, yield func(*user.User) error) (string, error) {
	return "cursor", f.export(ctx, yield)
}

func (f transferring) ApplyAll(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	return f.applyAll(ctx, commands)
}

// over serves an API over a network.
func over(t *testing.T, admin Admin, change func(*Options)) *httptest.Server {
	t.Helper()
	api, _ := service(t, admin, change)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return server
}

func call(t *testing.T, server *httptest.Server, method, path string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer t")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// TestTornExport: one that fails when some of it was sent breaks off, in both formats; one that fails before
// is a problem.
func TestTornExport(t *testing.T) {
	t.Parallel()
	users := 1
	server := over(t, transferring{export: func(_ context.Context, yield func(*user.User) error) error {
		for range users {
			if err := yield(ann()); err != nil {
				return err
			}
		}
		return user.Errorf(user.Unavailable, "the database does not answer")
	}}, nil)
	for _, format := range []string{"ndjson", "csv"} {
		users = 1
		if answer := call(t, server, "GET", usersPath+"?format="+format, nil); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s", format, answer.Status)
		}
		users = 5000
		answer := call(t, server, "GET", usersPath+"?format="+format, nil)
		body, err := io.ReadAll(answer.Body)
		if answer.StatusCode != 200 || !errors.Is(err, io.ErrUnexpectedEOF) || len(body) < exportChunk || answer.Trailer.Get(totalTrailer) != "" || strings.Contains(string(body), `"end"`) {
			t.Errorf("%s: %s, %v after %d bytes", format, answer.Status, err, len(body))
		}
	}
}

// TestTornExportByHTTP10: without chunks, the end of the connection is the end of the file, so a torn one resets it.
func TestTornExportByHTTP10(t *testing.T) {
	t.Parallel()
	server := over(t, transferring{export: func(_ context.Context, yield func(*user.User) error) error {
		for range 5000 {
			if err := yield(ann()); err != nil {
				return err
			}
		}
		return user.Errorf(user.Unavailable, "the database does not answer")
	}}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET "+usersPath+"?format=csv HTTP/1.0\r\nAuthorization: Bearer t\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v after %d bytes", err, len(text))
	}
}

// TestHeadOfFiles: HEAD is answered as GET is, less the file.
func TestHeadOfFiles(t *testing.T) {
	t.Parallel()
	server := over(t, transferring{export: func(context.Context, func(*user.User) error) error { return nil }}, nil)
	for _, format := range []string{"ndjson", "csv"} {
		head, get := call(t, server, "HEAD", usersPath+"?format="+format, nil), call(t, server, "GET", usersPath+"?format="+format, nil)
		if head.StatusCode != 200 || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("%s: %s %q, GET has %q", format, head.Status, head.Header.Get("Content-Type"), get.Header.Get("Content-Type"))
		}
	}
}

// TestImportTooLarge: a file that says that it is over 1 GiB is refused before any of it is carried out.
func TestImportTooLarge(t *testing.T) {
	t.Parallel()
	api, _ := service(t, transferring{applyAll: func(context.Context, []user.Command) ([]user.Result, error) {
		t.Error("some of it was carried out")
		return nil, nil
	}}, nil)
	r := httptest.NewRequest("POST", usersPath+"/import", strings.NewReader("{}"))
	r.Header.Set("Authorization", "Bearer t")
	r.Header.Set("Content-Type", ndjsonType)
	r.ContentLength = maxImportedFile + 1
	w := httptest.NewRecorder()
	if api.ServeHTTP(w, r); w.Code != 413 || !strings.Contains(w.Body.String(), `"BODY_TOO_LARGE"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTwoExportsAtOnce(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	server := over(t, transferring{export: func(context.Context, func(*user.User) error) error {
		begun <- struct{}{}
		<-finish
		return nil
	}}, nil)
	ended := make(chan int, 2)
	for range 2 {
		go func() { ended <- call(t, server, "GET", usersPath+"?format=ndjson", nil).StatusCode }()
		<-begun
	}
	if answer := call(t, server, "GET", usersPath+"?format=csv", nil); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a third export: %s", answer.Status)
	}
	close(finish)
	for range 2 {
		if status := <-ended; status != 200 {
			t.Errorf("one of the first two ended with %d", status)
		}
	}
}

// TestExportIsNotHeld: a service that exports holds no more than some chunks, however much it sends.
func TestExportIsNotHeld(t *testing.T) {
	t.Parallel()
	const users = 200_000
	var most atomic.Uint64
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	runtime.GC()
	before := heap()
	server := over(t, transferring{export: func(_ context.Context, yield func(*user.User) error) error {
		for i := range users {
			if err := yield(ann()); err != nil {
				return err
			}
			if i%20_000 == 0 {
				runtime.GC()
				most.Store(max(most.Load(), heap()))
			}
		}
		return nil
	}}, nil)
	lines, _ := io.Copy(io.Discard, call(t, server, "GET", usersPath+"?format=ndjson", nil).Body)
	if grown := int64(most.Load()) - int64(before); lines < users*100 || grown > 40<<20 { //nolint:gosec // bytes
		t.Errorf("%d bytes sent, %d more held", lines, grown)
	}
}

func results(commands []user.Command) []user.Result {
	out := make([]user.Result, len(commands))
	for i := range out {
		out[i].Event = &user.Event{Type: user.Created, UserID: user.NewID()}
	}
	return out
}

func summaryOf(t *testing.T, body io.Reader) (lines int, summary map[string]any) {
	t.Helper()
	scanner := bufio.NewScanner(body)
	for scanner.Scan() {
		var line struct {
			Line    int
			Summary map[string]any
		}
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Line > 0 {
			lines++
		}
		if line.Summary != nil {
			summary = line.Summary
		}
	}
	return lines, summary
}

func fileOf(lines int) string {
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "{\"tag\":\"u%d\",\"name\":\"N\"}\n", i)
	}
	return b.String()
}

// TestImportWaitsForTheDatabase: a group whose outcome is not known is repeated with the same claims, and what
// is still under way is waited for.
func TestImportWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	attempts, first := 0, ""
	server := over(t, transferring{applyAll: func(_ context.Context, commands []user.Command) ([]user.Result, error) {
		attempts++
		if attempts == 1 {
			first = commands[0].Claim.ID
		}
		if attempts < 4 && commands[0].Claim.ID != first {
			t.Errorf("claimed as %s, then as %s", first, commands[0].Claim.ID)
		}
		switch attempts {
		case 1, 2:
			return nil, user.Errorf(user.Unavailable, "away")
		case 3:
			out := results(commands)
			out[0] = user.Result{Err: errInProgress}
			return out, nil
		}
		return results(commands), nil
	}}, nil)
	answer := call(t, server, "POST", usersPath+"/import", strings.NewReader(fileOf(10)), "Content-Type", ndjsonType)
	if lines, summary := summaryOf(t, answer.Body); lines != 10 || summary["created"] != 10. || summary["doneThrough"] != nil || attempts < 4 {
		t.Errorf("%d lines, %v after %d attempts", lines, summary, attempts)
	}
}

var errInProgress = user.Errorf(user.InProgress, "busy")

// TestImportSaysWhereItStopped: after an error that stays, the summary has the last line that was carried out.
func TestImportSaysWhereItStopped(t *testing.T) {
	t.Parallel()
	done := 0
	server := over(t, transferring{applyAll: func(_ context.Context, commands []user.Command) ([]user.Result, error) {
		if done >= 2000 {
			return nil, errors.New("a fault of the service")
		}
		done += len(commands)
		return results(commands), nil
	}}, nil)
	answer := call(t, server, "POST", usersPath+"/import?results=failed", strings.NewReader(fileOf(20_000)), "Content-Type", ndjsonType)
	lines, summary := summaryOf(t, answer.Body)
	problem, _ := summary["problem"].(map[string]any)
	if lines != 0 || summary["doneThrough"] != float64(done) || summary["created"] != float64(done) || problem["errorCode"] != "INTERNAL" {
		t.Errorf("%d lines, %v, %d done", lines, summary, done)
	}
}

// TestImportTorn: a client that closes its half of the connection within its file reads that the file is torn.
func TestImportTorn(t *testing.T) {
	t.Parallel()
	server := over(t, transferring{applyAll: func(_ context.Context, commands []user.Command) ([]user.Result, error) {
		return results(commands), nil
	}}, nil)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "POST %s/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: %s\r\nContent-Length: 9000\r\n\r\n{}\n", usersPath, ndjsonType)
	_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // dialled as one
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, summary := summaryOf(t, answer.Body)
	if problem, _ := summary["problem"].(map[string]any); problem["errorCode"] != "TIMEOUT" {
		t.Errorf("%v", summary)
	}
}

// TestImportStreams: a line is carried out, and answered, while its client has yet to send the next.
func TestImportStreams(t *testing.T) {
	t.Parallel()
	server := over(t, transferring{applyAll: func(_ context.Context, commands []user.Command) ([]user.Result, error) {
		return results(commands), nil
	}}, func(o *Options) { o.BodyTimeout = 200 * time.Millisecond })
	read, write := io.Pipe()
	answered := make(chan *http.Response, 1)
	go func() {
		answered <- call(t, server, "POST", usersPath+"/import", read, "Content-Type", ndjsonType)
	}()
	_, _ = write.Write([]byte(fileOf(1)))
	answer := <-answered
	scanner := bufio.NewScanner(answer.Body)
	if !scanner.Scan() || !strings.HasPrefix(scanner.Text(), `{"line":1,"status":201`) {
		t.Fatalf("%s", scanner.Text())
	}
	time.Sleep(400 * time.Millisecond) // longer than the body of another request may take
	_, _ = write.Write([]byte(fileOf(1)))
	if !scanner.Scan() || !strings.HasPrefix(scanner.Text(), `{"line":2,"status":201`) {
		t.Errorf("%s", scanner.Text())
	}
	_ = write.Close()
	if !scanner.Scan() || !strings.Contains(scanner.Text(), `"created":2`) {
		t.Errorf("%s", scanner.Text())
	}
}

// ann is a user of a usual size.
func ann() *user.User {
	email := "ann@example.com"
	return &user.User{ID: user.NewID(), Tag: "ann", Name: "Ann", Email: &email, Role: user.Member, Status: user.Active,
		Metadata: []byte(`{"team":"research","costCenter":"4711"}`), Version: 1, CreatedAt: time.Now(), UpdatedAt: time.Now()}
}

// TestAnswersVaryByAccept: a cache between must not answer a request for CSV with JSON.
func TestAnswersVaryByAccept(t *testing.T) {
	t.Parallel()
	server := over(t, transferring{export: func(_ context.Context, yield func(*user.User) error) error { return yield(ann()) }}, nil)
	for _, accept := range []string{"text/csv", "application/x-ndjson", "text/html"} {
		if answer := call(t, server, "GET", usersPath+"?format=csv", nil, "Accept", accept); !slices.Contains(answer.Header.Values("Vary"), "Accept") {
			t.Errorf("%s: %s, Vary %q", accept, answer.Status, answer.Header.Values("Vary"))
		}
	}
}
