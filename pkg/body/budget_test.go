package body_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"aiadmin/pkg/body"
	"aiadmin/pkg/user"
)

var limits = body.Limits{Most: 8000, Total: 16000, Reserved: 1}

func request(t testing.TB, text string, known bool) *http.Request {
	t.Helper()
	var from io.Reader = strings.NewReader(text)
	if !known {
		from = iotest.OneByteReader(from)
	}
	return httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", from)
}

func TestBodiesComeWhole(t *testing.T) {
	t.Parallel()
	budget := body.NewBudget(limits, nil)
	for _, size := range []int{0, 1, 1023, 1024, 1025, 2047, 2048, 7999, 8000} {
		for _, known := range []bool{true, false} {
			text := strings.Repeat("x", size)
			got, leave, err := budget.Read(httptest.NewRecorder(), request(t, text, known))
			if err != nil || string(got) != text {
				t.Errorf("%d bytes, known %t: %d came, %v", size, known, len(got), err)
				continue
			}
			leave()
			leave() // once more gives nothing back twice
		}
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	budget := body.NewBudget(limits, nil)
	broken := func(at int) *http.Request {
		return httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/",
			io.MultiReader(strings.NewReader(strings.Repeat("x", at)), iotest.ErrReader(io.ErrUnexpectedEOF)))
	}
	for name, test := range map[string]struct {
		request *http.Request
		want    user.Kind
	}{
		"too large":                    {request(t, strings.Repeat("x", 8001), true), user.TooLarge},
		"too large, of unknown length": {request(t, strings.Repeat("x", 8001), false), user.TooLarge},
		"broken off":                   {broken(10), user.Malformed},
		"broken off later":             {broken(5000), user.Malformed},
	} {
		for range 10 { // more than the budget, were anything kept
			if _, _, err := budget.Read(httptest.NewRecorder(), test.request.Clone(t.Context())); err == nil || user.KindOf(err) != test.want {
				t.Errorf("%s: %v, want %s", name, err, test.want)
			}
			test.request.Body = broken(5000).Body
			if test.want == user.TooLarge {
				break
			}
		}
	}
	for range 2 {
		if _, _, err := budget.Read(httptest.NewRecorder(), request(t, strings.Repeat("x", 7000), true)); err != nil {
			t.Errorf("the budget was not given back: %v", err)
		}
	}
}

// TestBudgetIsBounded spends a budget: one more body is finished in the reserved place, and
// those after it wait until something is given back. The clock moves only once all wait.
func TestBudgetIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		budget := body.NewBudget(limits, nil)
		read := func(size int, known bool, wait time.Duration) (func(), error) {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			_, leave, err := budget.Read(httptest.NewRecorder(), request(t, strings.Repeat("x", size), known).WithContext(ctx))
			return leave, err
		}
		var leaves []func()
		for range 3 { // two of 7 KB, and one in the reserved place
			leave, err := read(7000, true, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leave)
		}
		for _, known := range []bool{true, false} {
			if _, err := read(7000, known, time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one more: %v", err)
			}
		}
		if leave, err := read(900, true, time.Second); err != nil {
			t.Errorf("a small one, for which there is enough: %v", err)
		} else {
			leave()
		}
		if _, err := read(7000, true, time.Hour); user.KindOf(err) != user.Unavailable {
			t.Errorf("after a long wait: %v", err)
		}
		leaves[0]()
		if leave, err := read(7000, true, time.Second); err != nil {
			t.Errorf("after some was given back: %v", err)
		} else {
			leave()
		}
		leaves[2]()
		if _, err := read(8000, false, time.Second); err != nil {
			t.Errorf("after the reserved place was given back: %v", err)
		}
	})
}

// echo serves what it reads through a budget.
func echo(t testing.TB, budget *body.Budget) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, leave, err := budget.Read(w, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer leave()
		_, _ = w.Write(got)
	}))
	t.Cleanup(server.Close)
	return server
}

// TestARefusalIsRead: a client that looks for an answer only once it has sent everything gets it.
func TestARefusalIsRead(t *testing.T) {
	t.Parallel()
	server := echo(t, body.NewBudget(limits, nil))
	const size = 16 << 20 // more than the connection's buffers hold
	for name, begin := range map[string]string{"declared": fmt.Sprintf("Content-Length: %d\r\n\r\n", size), "in chunks": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size)} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\n"+begin+strings.Repeat("x", size))
		if err == nil && name == "in chunks" {
			_, err = io.WriteString(conn, "\r\n0\r\n\r\n")
		}
		if err != nil {
			t.Errorf("%s: the connection broke: %v", name, err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %v %v", name, answer, err)
		}
		_ = conn.Close()
	}
}

// TestManyLargeBodiesAtOnce races them over real connections through a budget for two.
func TestManyLargeBodiesAtOnce(t *testing.T) {
	t.Parallel()
	server := echo(t, body.NewBudget(limits, nil))
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			sent := bytes.Repeat([]byte{byte('a' + i%26)}, []int{50, 1100, 5000, 8000}[i%4])
			answer, err := http.Post(server.URL, "text/plain", bytes.NewReader(sent))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = answer.Body.Close() }()
			if got, err := io.ReadAll(answer.Body); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came of %d: %v", len(got), len(sent), err)
			}
		})
	}
	all.Wait()
}

// TestTricklingLargeBodiesKeepNobodyOut: each announces the largest body and sends a byte.
func TestTricklingLargeBodiesKeepNobodyOut(t *testing.T) {
	t.Parallel()
	server := echo(t, body.NewBudget(limits, nil))
	for range 14 { // as many as 16000 bytes are enough for, at 1 KiB each, and one for the rest
		rest, trickle := io.Pipe()
		t.Cleanup(func() { _ = trickle.Close() })
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, rest)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = 8000
		go func() {
			if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
				_ = answer.Body.Close()
			}
		}()
		_, _ = trickle.Write([]byte("x"))
	}
	answer, err := http.Post(server.URL, "text/plain", strings.NewReader(strings.Repeat("x", 8000)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if got, err := io.ReadAll(answer.Body); err != nil || len(got) != 8000 {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
}
