package blackbox

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestNoLostUpdate changes one user from many sides at once: every change is there, in the
// user, the history and the feed, in one order.
func TestNoLostUpdate(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const writers = 80
	u := s.create(t)
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range writers {
		group.Go(func() {
			<-start
			s.do(t, []string{"PUT", "PATCH"}[i%2], u.path(), fmt.Sprintf(`{"metadata":{"w%d":%d}}`, i, i)).is(t, http.StatusOK)
		})
	}
	close(start)
	group.Wait()
	after := s.get(t, u.ID)
	if after.Version != writers+1 {
		t.Errorf("version %d, want %d", after.Version, writers+1)
	}
	for i := range writers {
		if !metadataHas(t, after, fmt.Sprintf("w%d", i)) {
			t.Errorf("the change of writer %d is lost", i)
		}
	}
	h := versions(s.history(t, u.ID))
	for i, version := range h {
		if version != writers+1-i {
			t.Fatalf("history: %v", h)
		}
	}
	checkFeed(t, s.waitChanges(t, u.ID, writers+1), writers+1)
}

func metadataHas(t *testing.T, u user, name string) bool {
	t.Helper()
	object, ok := normal(t, string(u.Metadata)).(map[string]any)
	return ok && object[name] != nil
}

// TestAListKnowsWhatWasAcknowledged has many ask for the same page right after a change of theirs
// was answered: however they share the reading, each finds it there.
func TestAListKnowsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	newest := url.Values{"limit": {"100"}, "count": {"none"}}
	var group sync.WaitGroup
	for range 24 {
		group.Go(func() {
			for range 4 { // 96 in all: none is pushed off the page
				u := s.create(t)
				page, _ := s.list(t, newest)
				if !slices.ContainsFunc(page.Users, func(listed user) bool { return listed.ID == u.ID }) {
					t.Errorf("%s is not among the %d newest", u.Tag, len(page.Users))
				}
				s.do(t, "PUT", u.path(), `{"status":"suspended"}`).is(t, http.StatusOK)
				page, _ = s.list(t, newest)
				if !slices.ContainsFunc(page.Users, func(listed user) bool { return listed.ID == u.ID && listed.Status == "suspended" }) {
					t.Errorf("%s is not suspended in the list", u.Tag)
				}
			}
		})
	}
	group.Wait()
}

// TestOneWinner races creations and changes that only one can win.
func TestOneWinner(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	const racers = 16
	race := func(t *testing.T, request func(i int) answer) map[int]int {
		t.Helper()
		answers := make([]answer, racers)
		var group sync.WaitGroup
		start := make(chan struct{})
		for i := range racers {
			group.Go(func() {
				<-start
				answers[i] = request(i)
			})
		}
		close(start)
		group.Wait()
		count := map[int]int{}
		for _, a := range answers {
			count[a.status]++
		}
		return count
	}
	same := func(member func(round int) string, code string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			for round := range 5 {
				m := member(round)
				got := race(t, func(int) answer {
					body := fmt.Sprintf(`{"name":"N",%s}`, m)
					if code != "DUPLICATE_TAG" {
						body = fmt.Sprintf(`{"name":"N","tag":%q,%s}`, newTag(), m)
					}
					a := s.do(t, "POST", usersPath, body)
					if a.status != http.StatusCreated {
						a.fails(t, http.StatusConflict, code)
					}
					return a
				})
				if got[201] != 1 || got[409] != racers-1 {
					t.Errorf("%s: %v", m, got)
				}
			}
		}
	}
	t.Run("a tag", same(func(int) string { return fmt.Sprintf(`"tag":%q`, newTag()) }, "DUPLICATE_TAG"))
	t.Run("an address", same(func(r int) string { return fmt.Sprintf(`"email":"race%d@example.com"`, r) }, "DUPLICATE_EMAIL"))
	t.Run("an externalId", same(func(r int) string { return fmt.Sprintf(`"externalId":"race%d"`, r) }, "DUPLICATE_EXTERNAL_ID"))
	t.Run("an id", same(func(r int) string { return fmt.Sprintf(`"id":"01936d2e-7a4b-7c1e-9f00-00000000000%d"`, r) }, "DUPLICATE_ID"))
	t.Run("a version", func(t *testing.T) {
		t.Parallel()
		for range 5 {
			u := s.create(t)
			got := race(t, func(i int) answer {
				return s.do(t, "PUT", u.path(), fmt.Sprintf(`{"name":"N%d"}`, i), "If-Match", `"1"`)
			})
			if got[200] != 1 || got[412] != racers-1 || s.get(t, u.ID).Version != 2 {
				t.Errorf("%v", got)
			}
		}
	})
	t.Run("a deletion", func(t *testing.T) {
		t.Parallel()
		u := s.create(t)
		if got := race(t, func(int) answer { return s.do(t, "DELETE", u.path(), "") }); got[204] != 1 || got[404] != racers-1 {
			t.Errorf("%v", got)
		}
		if h := versions(s.history(t, u.ID)); !slices.Equal(h, []int{2, 1}) {
			t.Errorf("history: %v", h)
		}
	})
	t.Run("the same change", func(t *testing.T) {
		t.Parallel()
		u := s.create(t)
		if got := race(t, func(int) answer { return s.do(t, "PUT", u.path(), `{"name":"Same"}`) }); got[200] != racers {
			t.Errorf("%v", got)
		}
		if got := s.get(t, u.ID).Version; got != 2 {
			t.Errorf("version %d: all but the first changed nothing", got)
		}
	})
}

// TestManyAtOnce holds that 500 requests at once wait for a connection and are all served.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	u := s.create(t)
	var group sync.WaitGroup
	for i := range 500 {
		group.Go(func() {
			switch i % 3 {
			case 0:
				s.do(t, "GET", u.path(), "").is(t, http.StatusOK)
			case 1:
				s.do(t, "GET", usersPath+"?limit=500", "").is(t, http.StatusOK)
			case 2:
				s.create(t)
			}
		})
	}
	group.Wait()
}

// memoryBound is in MiB.
const memoryBound = 100

// TestMemory holds the service's memory while 500 clients read pages of 500 users at once.
func TestMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes several times the memory")
	}
	t.Parallel()
	s := serve(t, database(t))
	var events []string
	for i := range 1000 {
		events = append(events, structured(fmt.Sprintf("m%d", i), "create", fmt.Sprintf(`{"tag":"memory-%d","name":"A name of ordinary length",
			"email":"memory-%[1]d@example.com","models":["gpt-5*","claude-*"],"metadata":{"team":"research","office":{"city":"London"}}}`, i)))
	}
	s.do(t, "POST", "/ai/admin/events", "["+strings.Join(events, ",")+"]", "Content-Type", batchType).is(t, http.StatusOK)
	idle := s.residentMiB(t, "VmHWM")
	var group sync.WaitGroup
	for range 500 {
		group.Go(func() {
			for range 3 {
				resp, err := s.client.Do(s.request(t, "GET", usersPath+"?limit=500", ""))
				if err != nil {
					t.Error(err)
					return
				}
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || n < 100_000 {
					t.Errorf("%d, %d bytes, %v", resp.StatusCode, n, err)
				}
			}
		})
	}
	group.Wait()
	most := s.residentMiB(t, "VmHWM")
	t.Logf("%d MiB at the most, %d before", most, idle)
	if most > memoryBound {
		t.Errorf("%d MiB, want at most %d", most, memoryBound)
	}
}

// residentMiB reads a figure of the service's memory; 0 where there is no /proc.
func (s *service) residentMiB(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		t.Skip("no /proc")
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			must(t, err)
			return kib >> 10
		}
	}
	t.Fatalf("no %s", name)
	return 0
}
