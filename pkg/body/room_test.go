package body_test

import (
	"bytes"
	"context"
	"errors"
	"io"
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

var limits = body.Limits{Most: 1000, Free: 100, Least: 250, Room: 1000}

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
	room := body.NewRoom(limits)
	for _, size := range []int{0, 1, 99, 100, 101, 999, 1000} {
		for _, known := range []bool{true, false} {
			text := strings.Repeat("x", size)
			got, leave, err := room.Read(httptest.NewRecorder(), request(t, text, known))
			if err != nil || string(got) != text {
				t.Errorf("%d bytes, known %t: %d came, %v", size, known, len(got), err)
			}
			leave()
		}
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	room := body.NewRoom(limits)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	broken := func(at int) *http.Request {
		return httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/",
			io.MultiReader(strings.NewReader(strings.Repeat("x", at)), iotest.ErrReader(io.ErrUnexpectedEOF)))
	}
	for name, test := range map[string]struct {
		request *http.Request
		want    user.Kind
	}{
		"too large":                      {request(t, strings.Repeat("x", 1001), true), user.TooLarge},
		"too large, of unknown length":   {request(t, strings.Repeat("x", 1001), false), user.TooLarge},
		"broken off":                     {broken(10), user.Malformed},
		"broken off while it takes room": {broken(500), user.Malformed},
		"nobody waits for it":            {request(t, strings.Repeat("x", 500), true).WithContext(gone), user.Internal},
	} {
		if _, _, err := room.Read(httptest.NewRecorder(), test.request); err == nil || user.KindOf(err) != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	if _, leave, err := room.Read(httptest.NewRecorder(), request(t, strings.Repeat("x", 1000), true)); err != nil {
		t.Errorf("room was not given back: %v", err)
	} else {
		leave()
	}
}

// TestRoomIsBounded fills a room: what is large then waits until some is given back, what is
// small waits for nobody. Its clock moves only once all wait, so that a busy machine is no reason
// for giving up.
func TestRoomIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, roomIsBounded)
}

func roomIsBounded(t *testing.T) {
	for _, filling := range []struct{ size, many int }{{1000, 1}, {500, 2}, {250, 4}, {110, 4}} {
		room := body.NewRoom(limits)
		read := func(size int, known bool) (func(), error) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, leave, err := room.Read(httptest.NewRecorder(), request(t, strings.Repeat("x", size), known).WithContext(ctx))
			return leave, err
		}
		var leaves []func()
		for range filling.many {
			leave, err := read(filling.size, true)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leave)
		}
		for _, known := range []bool{true, false} {
			if _, err := read(110, known); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one more beside %d of %d bytes: %v", filling.many, filling.size, err)
			}
			if _, err := read(99, known); err != nil {
				t.Errorf("a small one beside %d of %d bytes: %v", filling.many, filling.size, err)
			}
		}
		leaves[0]()
		if _, err := read(110, true); err != nil {
			t.Errorf("after room was given back: %v", err)
		}
		if _, err := read(110, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one of unknown length, which may take all of it: %v", err)
		}
	}
}

// TestManyLargeBodiesAtOnce races them over real connections through a room for one.
func TestManyLargeBodiesAtOnce(t *testing.T) {
	t.Parallel()
	room := body.NewRoom(limits)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, leave, err := room.Read(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		defer leave()
		_, _ = w.Write(got)
	}))
	defer server.Close()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			sent := bytes.Repeat([]byte{byte('a' + i%26)}, []int{50, 110, 500, 1000}[i%4])
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
