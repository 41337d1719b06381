package blackbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// sizeVariable names the variable with the number of users that pass through, such as 1000000.
const sizeVariable = "AI_ADMIN_TEST_FILE_USERS"

// TestLargeFilesPassThrough: users go in and out in bounded memory, however many they are. It logs the rates, beside
// those of COPY.
func TestLargeFilesPassThrough(t *testing.T) {
	users := 200_000
	if given, err := strconv.Atoi(os.Getenv(sizeVariable)); err == nil {
		users = given
	} else if raceDetector || testing.Short() {
		users = 20_000
	}
	url := database(t)
	s := serve(t, url)
	s.client.Timeout = 0
	read, write := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(write, 1<<20)
		for i := range users {
			fmt.Fprintf(w, `{"tag":"user-%07d","name":"User Number %d","email":"user%d@example.com","models":["gpt-5*","claude-*"],"limits":{"tokensPerMinute":%d},"metadata":{"team":"team-%d","costCenter":"%d"},"externalId":"ext-%d"}`+"\n",
				i, i, i, i%1000, i%40, i%300, i)
		}
		_ = w.Flush()
		_ = write.Close()
	}()
	before, began := s.memory(t), time.Now()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+usersPath+"/import?results=failed", read)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", ndjson)
	resp, err := s.client.Do(req)
	must(t, err)
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	must(t, err)
	if !bytes.Contains(answer, fmt.Appendf(nil, `{"summary":{"created":%d,`, users)) {
		t.Fatalf("%.600s", answer)
	}
	took := time.Since(began)
	t.Logf("import: %d users in %v, %.0f a second; %d MiB more", users, took.Round(time.Millisecond), float64(users)/took.Seconds(), (s.memory(t)-before)>>20)
	s.stop(t)
	s.sendsBatches(t, url, 20)
	s = serve(t, url) // whose memory is that of exports alone
	s.client.Timeout = 0
	s.fetch(t, usersPath+"?format=ndjson&tag=user-0000001").is(t, http.StatusOK)
	before = s.memory(t)
	var exported int64
	for _, format := range []string{"ndjson", "csv"} {
		began = time.Now()
		resp, err := s.client.Do(s.request(t, "GET", usersPath+"?format="+format+"&sort=tag", ""))
		must(t, err)
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		must(t, err)
		rate := float64(n) / 1e6 / time.Since(began).Seconds()
		t.Logf("export as %s: %d MB, %.0f MB/s; %d MiB more", format, n/1e6, rate, (s.memory(t)-before)>>20)
		exported += n
	}
	if grown := s.memory(t) - before; grown > 40<<20 && !raceDetector {
		t.Errorf("the exports held %d MiB more", grown>>20)
	}
	if exported < int64(users)*300 {
		t.Errorf("only %d bytes came out", exported)
	}
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	began = time.Now()
	var copied counter
	_, err = conn.PgConn().CopyTo(t.Context(), &copied, `COPY (SELECT id, tag, name, email, user_name, role, status, expires_at, models, requests_per_minute, tokens_per_minute,
		monthly_budget_cents, credentials, keys, metadata, external_id, version, created_at, updated_at FROM users ORDER BY tag) TO STDOUT`)
	must(t, err)
	t.Logf("COPY of the same columns: %d MB, %.0f MB/s", copied/1e6, float64(copied)/1e6/time.Since(began).Seconds())
}

// sendsBatches logs how fast as many users come as events, a thousand at a time, for the sake of comparison.
func (*service) sendsBatches(t testing.TB, url string, batches int) {
	t.Helper()
	s := serve(t, url)
	began := time.Now()
	for b := range batches {
		var body bytes.Buffer
		for i := range 1000 {
			n := b*1000 + i
			fmt.Fprintf(&body, `%c{"specversion":"1.0","id":"e%d","source":"/hr","type":"ai.admin.user.create","data":{"tag":"event-%07d","name":"User Number %d","email":"event%d@example.com","models":["gpt-5*","claude-*"],"limits":{"tokensPerMinute":%d},"metadata":{"team":"team-%d","costCenter":"%d"},"externalId":"event-%d"}}`,
				"[,"[min(i, 1)], n, n, n, n, n%1000, n%40, n%300, n)
		}
		body.WriteByte(']')
		resp, err := s.client.Do(s.request(t, "POST", "/ai/admin/events", body.String(), "Content-Type", "application/cloudevents-batch+json"))
		must(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("a batch: %s", resp.Status)
		}
	}
	t.Logf("batches of events: %.0f users a second", float64(batches*1000)/time.Since(began).Seconds())
	s.stop(t)
}

type counter int64

// Write implements [io.Writer].
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// memory is the most that the service has held, in bytes; 0 where the kernel does not say.
func (s *service) memory(t testing.TB) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	must(t, err)
	return n << 10
}
