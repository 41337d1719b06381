package admin_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"aiadmin/pkg/pgtest"
	"aiadmin/pkg/user"
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
				_, err := s.Apply(t.Context(), user.Command{Change: user.Delete{}, User: ref, Actor: "test"})
				if kind := user.KindOf(err); err != nil && kind != user.NotFound && kind != user.Unavailable {
					t.Errorf("a deletion: %v", err)
				}
			}
		})
	}
	running.Wait()
}
