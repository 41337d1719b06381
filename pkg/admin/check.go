package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/user"
)

// Check answers access questions in order, from what is committed now, up to the one at which the
// semantic stops. A credential that it hands out is counted first.
func (s *Service) Check(ctx context.Context, questions []access.Question, semantic access.Semantic) ([]access.Decision, error) {
	looked, err := s.store.Look(ctx, questions)
	if err != nil {
		return nil, err
	}
	now := s.options.Now()
	decisions := make([]access.Decision, 0, len(questions))
	for i := range questions {
		q := &questions[i]
		d := access.Decide(q, looked[i].Found, now)
		if err := s.hand(ctx, q, &d, looked[i].Sealed, now); err != nil {
			return nil, err
		}
		if d.Allowed() && d.Key != nil {
			s.uses.use(d.Key.ID, looked[i].Used, now)
		}
		decisions = append(decisions, d)
		if semantic.Ends(&d) {
			break
		}
	}
	return decisions, nil
}

// hand opens the credential that an allowed question asks for. One that cannot be counted is not handed out.
func (s *Service) hand(ctx context.Context, q *access.Question, d *access.Decision, sealed string, now time.Time) error {
	if !d.Allowed() || q.Provider == "" {
		return nil
	}
	id := d.Subject.ID
	plain, err := s.keys.Load().Open(id.String(), q.Provider, sealed)
	if err != nil {
		s.refused(ctx, id, q.Provider, err)
		return fmt.Errorf("credential of %s for %s: %w", id, q.Provider, err)
	}
	d.Hand(q, plain)
	if d.Credential == nil {
		return nil
	}
	hour := now.UTC().Truncate(time.Hour)
	return s.Audit(ctx, user.AuditEntry{At: hour, Actor: q.Gateway, Action: user.CredentialRevealed, UserID: id, Provider: q.Provider, Outcome: user.Succeeded,
		// The gateway's name, which may hold anything, comes last: no two buckets are spelled alike.
		Bucket: string(user.CredentialRevealed) + " " + hour.Format(time.RFC3339) + " " + id.String() + " " + q.Provider + " " + q.Gateway})
}

// uses notes when keys were used, once an hour each, so that no check waits for a write.
type uses struct {
	mu    sync.Mutex
	first map[uuid.UUID]time.Time // in this hour, and not written yet
}

const (
	usesEvery = 5 * time.Second
	usesTime  = 5 * time.Second // for a statement
)

// use notes a key's first use in an hour; last is when the database knows it to be used last.
func (u *uses) use(key uuid.UUID, last *time.Time, now time.Time) {
	if last != nil && !last.Before(now.UTC().Truncate(time.Hour)) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.first == nil {
		u.first = map[uuid.UUID]time.Time{}
	}
	if _, noted := u.first[key]; !noted {
		u.first[key] = now
	}
}

// KeepUses records when keys were used: every few seconds until ctx ends, and then once more.
func (s *Service) KeepUses(ctx context.Context) { repeat(ctx, usesEvery, s.writeUses) }

// writeUses writes what is noted. What cannot be written is tried again the next time.
func (s *Service) writeUses() {
	ctx, cancel := context.WithTimeout(context.Background(), usesTime)
	defer cancel()
	noted := s.uses.take()
	if len(noted) == 0 {
		return
	}
	if err := s.store.NoteUses(ctx, noted); err != nil {
		s.options.Log.Warn("the use of keys cannot be noted at present", "keys", len(noted), "error", err)
		s.uses.giveBack(noted)
	}
}

func (u *uses) take() map[uuid.UUID]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	noted := u.first
	u.first = nil
	return noted
}

func (u *uses) giveBack(noted map[uuid.UUID]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, at := range u.first {
		if _, ok := noted[key]; !ok {
			noted[key] = at
		}
	}
	u.first = noted
}
