package blackbox

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestIdempotencyKey holds what a retry of a creation gets.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	body := func() string { return fmt.Sprintf(`{"tag":%q,"name":"N"}`, newTag()) }
	post := func(t *testing.T, key, body string, more ...string) answer {
		t.Helper()
		return s.do(t, "POST", usersPath, body, append([]string{"Idempotency-Key", key}, more...)...)
	}
	t.Run("replay", func(t *testing.T) {
		t.Parallel()
		b := body()
		first := post(t, "replay-1", b).is(t, http.StatusCreated)
		if first.header.Get("Idempotency-Replayed") != "" {
			t.Error("the first answer says that it is a replay")
		}
		s.do(t, "PUT", first.user(t).path(), `{"name":"Later"}`).is(t, http.StatusOK)
		for range 2 {
			again := post(t, "replay-1", b).is(t, http.StatusCreated)
			if !sameJSON(t, string(first.body), string(again.body)) {
				t.Errorf("not the first answer:\n%s\n%s", first.body, again.body)
			}
			for _, name := range []string{"ETag", "Location", "Content-Type"} {
				if first.header.Get(name) != again.header.Get(name) {
					t.Errorf("%s: %s, first %s", name, again.header.Get(name), first.header.Get(name))
				}
			}
			if got := again.header.Get("Idempotency-Replayed"); got != "true" {
				t.Errorf("Idempotency-Replayed: %q", got)
			}
		}
		if got := len(s.history(t, first.user(t).ID)); got != 2 {
			t.Errorf("%d entries of history", got)
		}
	})
	t.Run("replay after deletion", func(t *testing.T) {
		t.Parallel()
		b := fmt.Sprintf(`{"tag":%q,"name":"Forgotten One","metadata":{"team":"gone"}}`, newTag())
		first := post(t, "deleted-1", b).is(t, http.StatusCreated)
		u := first.user(t)
		s.do(t, "DELETE", u.path(), "").is(t, http.StatusNoContent)
		for range 2 {
			if again := post(t, "deleted-1", b).is(t, http.StatusCreated); !sameJSON(t, string(first.body), string(again.body)) {
				t.Errorf("not the first answer:\n%s\n%s", first.body, again.body)
			}
			s.waitForgotten(t, u, []string{"Forgotten One", "gone"})
		}
		s.do(t, "GET", u.path(), "").is(t, http.StatusNotFound)
	})
	t.Run("another body", func(t *testing.T) {
		t.Parallel()
		post(t, "other-1", body()).is(t, http.StatusCreated)
		post(t, "other-1", body()).fails(t, http.StatusUnprocessableEntity, "IDEMPOTENCY_KEY_REUSED")
	})
	t.Run("another caller", func(t *testing.T) {
		t.Parallel()
		post(t, "caller-1", body()).is(t, http.StatusCreated)
		a := post(t, "caller-1", body(), "Authorization", "Bearer "+secondToken).is(t, http.StatusCreated)
		if a.header.Get("Idempotency-Replayed") != "" {
			t.Error("a caller was given another's answer")
		}
	})
	t.Run("a refused request is judged afresh", func(t *testing.T) {
		t.Parallel()
		tag := newTag()
		taken := s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":"N"}`, tag)).user(t)
		b := fmt.Sprintf(`{"tag":%q,"name":"M"}`, tag)
		post(t, "refused-1", b).fails(t, http.StatusConflict, "DUPLICATE_TAG")
		s.do(t, "DELETE", taken.path(), "").is(t, http.StatusNoContent)
		post(t, "refused-1", b).is(t, http.StatusCreated)
		post(t, "refused-2", `{"tag":"-"}`).fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
		post(t, "refused-2", body()).is(t, http.StatusCreated)
	})
	t.Run("without a key", func(t *testing.T) {
		t.Parallel()
		b := body()
		s.do(t, "POST", usersPath, b).is(t, http.StatusCreated)
		s.do(t, "POST", usersPath, b).fails(t, http.StatusConflict, "DUPLICATE_TAG")
	})
	t.Run("with an id, and then without", func(t *testing.T) {
		t.Parallel()
		post(t, "secret-1", fmt.Sprintf(`{"tag":%q,"name":"N","credentials":{"a":"planted-key-000001"}}`, newTag())).is(t, http.StatusCreated)
	})
	t.Run("forms of a key", func(t *testing.T) {
		t.Parallel()
		for _, good := range []string{"a", "!~", strings.Repeat("k", 255), `"quoted"`, "01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f", "a,b", "%00"} {
			post(t, good, body()).is(t, http.StatusCreated)
		}
		for _, bad := range []string{strings.Repeat("k", 256), "a b", "é", "a\tb", "\x80"} {
			post(t, bad, body()).fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
		}
	})
	t.Run("racing", func(t *testing.T) {
		t.Parallel()
		for round := range 5 {
			s.raceKey(t, fmt.Sprintf("race-%d", round), body())
		}
	})
}

// raceKey sends one request many times at once: one effect, and each answer is the first
// one or says that it is still being made.
func (s *service) raceKey(t *testing.T, key, body string) {
	t.Helper()
	const racers = 12
	answers := make([]answer, racers)
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		group.Go(func() {
			<-start
			answers[i] = s.do(t, "POST", usersPath, body, "Idempotency-Key", key)
		})
	}
	close(start)
	group.Wait()
	var first []byte
	for _, a := range answers {
		switch a.status {
		case http.StatusCreated:
			if first == nil {
				first = a.body
			}
			if !bytes.Equal(normalBytes(t, first), normalBytes(t, a.body)) {
				t.Errorf("two first answers:\n%s\n%s", first, a.body)
			}
		case http.StatusConflict:
			a.fails(t, http.StatusConflict, "IDEMPOTENCY_IN_PROGRESS")
			if a.header.Get("Retry-After") == "" {
				t.Error("a racer is not told when to come again")
			}
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if first == nil {
		t.Fatal("none of the racers created the user")
	}
	s.do(t, "POST", usersPath, body, "Idempotency-Key", key).is(t, http.StatusCreated)
}

func normalBytes(t testing.TB, body []byte) []byte {
	t.Helper()
	return fmt.Append(nil, normal(t, string(body)))
}
