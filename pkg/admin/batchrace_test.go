package admin_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestConcurrentBatches has batches over the same users, and single changes to them, at
// once: none may fail or be lost.
func TestConcurrentBatches(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	one, _ := atNoon(t, url)
	two, db := atNoon(t, url) // another process has a turn of its own
	const users, batches, singles = 40, 8, 10
	var creations []user.Command
	refs := make([]user.Ref, users)
	for i := range refs {
		refs[i].ID = user.NewID()
		creations = append(creations, create(t, fmt.Sprint("c", i), fmt.Sprintf(`{"id":%q,"tag":"u%d","name":"N"}`, refs[i].ID, i)))
	}
	applyAll(t, one, creations...)
	var all sync.WaitGroup
	for n := range batches {
		all.Go(func() {
			var commands []user.Command
			for _, i := range rand.Perm(users) { //nolint:gosec // any order
				commands = append(commands, update(t, fmt.Sprint("b", n, i), refs[i], fmt.Sprintf(`{"metadata":{"b%d":"x"}}`, n)))
			}
			service := []*admin.Service{one, two}[n%2]
			results, err := service.ApplyAll(t.Context(), commands)
			if err != nil {
				t.Errorf("batch %d: %v", n, err)
			}
			for i, result := range results {
				if result.Err != nil {
					t.Errorf("batch %d, event %d: %v", n, i, result.Err)
				}
			}
		})
	}
	for n := range singles {
		all.Go(func() {
			for i := range users {
				command := update(t, fmt.Sprint("s", n, i), refs[i], fmt.Sprintf(`{"metadata":{"s%d":"x"}}`, n))
				if _, err := two.Apply(t.Context(), command); err != nil {
					t.Errorf("single change %d of user %d: %v", n, i, err)
				}
			}
		})
	}
	all.Wait()
	for i, ref := range refs {
		u, err := one.Get(t.Context(), ref)
		if err != nil || u.Version != 1+batches+singles {
			t.Errorf("user %d: %v, version %d, want %d", i, err, u.Version, 1+batches+singles)
		}
	}
	checkLog(t, db)
}

// TestConcurrentCreations races batches and single requests for the same tags: each tag
// has one winner, and the others are told so.
func TestConcurrentCreations(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	one, _ := atNoon(t, url)
	two, db := atNoon(t, url)
	const tags = 30
	var mu sync.Mutex
	won := map[string]int{}
	count := func(outcome user.Outcome, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			won[outcome.User.Tag]++
		} else if user.KindOf(err) != user.DuplicateTag {
			t.Errorf("a loser is told %v", err)
		}
	}
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			var commands []user.Command
			for _, i := range rand.Perm(tags) { //nolint:gosec // any order
				commands = append(commands, create(t, fmt.Sprint("b", n, ".", i), fmt.Sprintf(`{"tag":"u%d","name":"N"}`, i)))
			}
			results, err := []*admin.Service{one, two}[n%2].ApplyAll(t.Context(), commands)
			if err != nil {
				t.Error(err)
			}
			for _, result := range results {
				count(result.Outcome, result.Err)
			}
		})
		all.Go(func() {
			for i := range tags {
				count(one.Apply(t.Context(), create(t, fmt.Sprint("s", n, ".", i), fmt.Sprintf(`{"tag":"u%d","name":"N"}`, i))))
			}
		})
	}
	all.Wait()
	for i := range tags {
		if n := won[fmt.Sprint("u", i)]; n != 1 {
			t.Errorf("tag u%d has %d winners", i, n)
		}
	}
	checkLog(t, db)
}

// TestRacingDeliveries has the same events come in batches and alone at once: each has one
// effect, and everyone who is not told to come again gets the one answer.
func TestRacingDeliveries(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	one, _ := atNoon(t, url)
	two, db := atNoon(t, url)
	const events = 20
	commands := make([]user.Command, events)
	for i := range commands {
		commands[i] = create(t, fmt.Sprint(i), fmt.Sprintf(`{"tag":"u%d","name":"N"}`, i))
	}
	var mu sync.Mutex
	answers := map[int]map[uuid.UUID]bool{}
	note := func(i int, outcome user.Outcome, err error) {
		if user.KindOf(err) == user.InProgress && err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Errorf("event %d: %v", i, err)
			return
		}
		if answers[i] == nil {
			answers[i] = map[uuid.UUID]bool{}
		}
		answers[i][outcome.Event.ID] = true
	}
	var all sync.WaitGroup
	for n := range 6 {
		service := []*admin.Service{one, two}[n%2]
		all.Go(func() {
			results, err := service.ApplyAll(t.Context(), commands)
			if err != nil {
				t.Error(err)
			}
			for i, r := range results {
				note(i, r.Outcome, r.Err)
			}
		})
		all.Go(func() {
			for i, command := range commands {
				outcome, err := service.Apply(t.Context(), command)
				note(i, outcome, err)
			}
		})
	}
	all.Wait()
	for i := range commands {
		if len(answers[i]) != 1 {
			t.Errorf("event %d has %d answers", i, len(answers[i]))
		}
	}
	checkLog(t, db)
}

// checkLog holds that the log tells of each user's versions once, in order, and that all
// of it waits to be sent.
func checkLog(t *testing.T, db *store.Store) {
	t.Helper()
	var broken, unsent int
	err := db.DB().NewRaw(`SELECT count(*) FROM (SELECT version - row_number() OVER (PARTITION BY user_id ORDER BY seq) AS gap FROM events) AS g
		WHERE gap <> 0`).Scan(t.Context(), &broken)
	if err != nil || broken > 0 {
		t.Errorf("%d events are out of order or missing: %v", broken, err)
	}
	err = db.DB().NewRaw(`SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.event_id = e.id AND o.seq = e.seq)`).Scan(t.Context(), &unsent)
	if err != nil || unsent > 0 {
		t.Errorf("%d events are not queued to be sent: %v", unsent, err)
	}
}
