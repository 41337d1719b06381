package admin_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestDeletionsOfAUserMadeAgainAndAgain races creations and deletions of one id: who deletes is told
// what came of it, and never of another request that it knows nothing of.
func TestDeletionsOfAUserMadeAgainAndAgain(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	ref := user.Ref{ID: uuid.UUID{15: 1}}
	var running sync.WaitGroup
	for n := range 4 {
		running.Go(func() {
			for i := range 100 {
				_, err := s.Apply(t.Context(), create(t, fmt.Sprint("c", n, ".", i), `{"id":"00000000-0000-0000-0000-000000000001","tag":"a","name":"N"}`))
				if kind := user.KindOf(err); err != nil && kind != user.DuplicateID && kind != user.DuplicateTag {
					t.Errorf("a creation: %v", err)
				}
			}
		})
		running.Go(func() {
			for range 100 {
				_, err := s.Apply(t.Context(), user.Command{Change: user.Delete{}, User: ref, Origin: user.Origin{Actor: "test"}})
				if kind := user.KindOf(err); err != nil && kind != user.NotFound && kind != user.Unavailable {
					t.Errorf("a deletion: %v", err)
				}
			}
		})
	}
	running.Wait()
}

// TestAUserMadeAgainHasNothingOfTheOneBefore updates one id while it is deleted and made again, so
// that versions repeat: what an update read of one life it never writes into the next.
func TestAUserMadeAgainHasNothingOfTheOneBefore(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	one, db := running(t, url)
	other, _ := running(t, url)
	ref := user.Ref{ID: uuid.UUID{15: 1}}
	over := make(chan struct{})
	var updates sync.WaitGroup
	for n := range 6 {
		updates.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				_, err := []*admin.Service{one, other}[n%2].Apply(t.Context(), once(update(t, "", ref, fmt.Sprintf(`{"metadata":{"w%d":%d}}`, n, i))))
				if kind := user.KindOf(err); err != nil && kind != user.NotFound && kind != user.Unavailable {
					t.Errorf("an update: %v", err)
				}
			}
		})
	}
	for i := range 200 {
		again := []user.Command{once(remove("", ref)), once(create(t, "", fmt.Sprintf(`{"id":%q,"tag":"life-%d","name":"N"}`, ref.ID, i)))}
		if _, err := one.ApplyAll(t.Context(), again); err != nil {
			t.Error(err)
		}
	}
	close(over)
	updates.Wait()
	var mixed int
	if err := db.DB().NewRaw(`SELECT count(*) FROM (
		SELECT data->'user'->>'tag' AS tag, max(CASE WHEN type = 'ai.admin.user.created' THEN data->'user'->>'tag' END) OVER (PARTITION BY life) AS made
		FROM (SELECT *, count(*) FILTER (WHERE type = 'ai.admin.user.created') OVER (ORDER BY seq) AS life FROM events) AS e) AS e
		WHERE tag <> made`).Scan(t.Context(), &mixed); err != nil || mixed > 0 {
		t.Errorf("%d events show a user of an earlier life: %v", mixed, err)
	}
}
