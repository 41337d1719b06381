package store_test

import (
	"runtime"
	"testing"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestADeletionTakesWhatItCouldNotSee has a deletion wait for an update that stores a credential: when
// both are done, nothing of the user's is left.
func TestADeletionTakesWhatItCouldNotSee(t *testing.T) {
	t.Parallel()
	for name, claimed := range map[string]*user.Claim{"delete": nil, "delete once": claim("removal")} {
		s := open(t, pgtest.Database(t))
		u := ann(t, "ann", func(u *user.User) { u.Credentials = nil })
		insertWithout(t, s, u)
		gone := make(chan error, 1)
		err := s.Locked(t.Context(), user.Ref{ID: u.ID}, func(l *store.Locked) error {
			go func() {
				r := removal(u)
				r.Claim = claimed
				outcome, err := s.Delete(t.Context(), r)
				if err == nil && outcome != store.Done {
					t.Errorf("%s: outcome %d", name, outcome)
				}
				gone <- err
			}()
			for waits := 0; waits == 0; runtime.Gosched() {
				must(t, s.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waits))
			}
			write := revision(l.User, func(u *user.User) {
				u.Credentials = []user.Credential{{Provider: "openai", KeyID: "k1", UpdatedAt: morning}}
			})
			write.Sealed = map[string]string{"openai": "k1:late"}
			_, err := l.Update(t.Context(), write)
			return err
		})
		must(t, err)
		must(t, <-gone)
		var left int
		must(t, s.DB().QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM credentials)").Scan(&left))
		if left != 0 {
			t.Errorf("%s: %d rows are left", name, left)
		}
	}
}

func insertWithout(t *testing.T, s *store.Store, u *user.User) {
	t.Helper()
	write := creation(u)
	write.Sealed = nil
	outcome, err := s.Insert(t.Context(), write)
	expect(t, store.Done, outcome, err)
}
