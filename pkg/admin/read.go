package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"

	"aiadmin/pkg/scim"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// Get returns one user.
func (s *Service) Get(ctx context.Context, ref user.Ref) (*user.User, error) {
	return s.store.Get(ctx, ref)
}

// List returns one page of users.
func (s *Service) List(ctx context.Context, q user.Query) (user.Page, error) {
	return s.store.List(ctx, q)
}

// Keys returns the keys of a user, newest first.
func (s *Service) Keys(ctx context.Context, ref user.Ref) ([]user.ListedKey, error) {
	u, err := s.store.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	return s.store.UserKeys(ctx, u.ID)
}

// Key returns one key of a user.
func (s *Service) Key(ctx context.Context, ref user.Ref, id uuid.UUID) (user.ListedKey, error) {
	keys, err := s.Keys(ctx, ref)
	if err != nil {
		return user.ListedKey{}, err
	}
	i := slices.IndexFunc(keys, func(k user.ListedKey) bool { return k.ID == id })
	if i < 0 {
		return user.ListedKey{}, user.ErrNoSuchKey
	}
	return keys[i], nil
}

// FindKeys returns a page of keys across users.
func (s *Service) FindKeys(ctx context.Context, q user.KeyQuery) (user.KeyPage, error) {
	return s.store.FindKeys(ctx, q)
}

// Reveal opens one secret: the one place where a secret leaves the service. The entry tells who asks; what
// cannot be recorded in the audit log is not revealed.
func (s *Service) Reveal(ctx context.Context, id uuid.UUID, provider string, entry user.AuditEntry) (secret.Text, error) {
	entry.Action, entry.UserID, entry.Provider = user.CredentialRevealed, id, provider
	stored, err := s.store.Reveal(ctx, id, provider, entry)
	if user.KindOf(err) != user.NotFound {
		s.options.Audited([]user.AuditEntry{entry}, err)
	}
	if err != nil {
		return secret.Text{}, err
	}
	plain, err := s.keys.Load().Open(id.String(), provider, stored)
	if err != nil {
		s.refused(ctx, id, provider, err)
		entry.Outcome = user.Failed // said by an entry of its own: what is recorded is not changed
		return secret.Text{}, errors.Join(fmt.Errorf("credential of %s for %s: %w", id, provider, err), s.Audit(ctx, entry))
	}
	return plain, nil
}

// refused tells of a sealed value that could not be opened, which nothing else stops for.
func (s *Service) refused(ctx context.Context, id uuid.UUID, provider string, err error) {
	s.options.Refused()
	s.options.Log.ErrorContext(ctx, "a sealed value was refused", "user", id, "provider", provider, "error", err)
}

// historyPlace is the place of an entry in a user's history.
type historyPlace struct {
	Seq int64 `json:"s"`
}

// History returns who changed what about a user, even after the user's deletion.
func (s *Service) History(ctx context.Context, id uuid.UUID, cursor string, limit int) (user.HistoryPage, error) {
	place, listing := historyPlace{math.MaxInt64}, user.Fingerprint("history of", id)
	if cursor != "" {
		var err error
		if place, err = user.DecodeCursor(cursor, listing, func(p historyPlace) bool { return p.Seq > 0 }); err != nil {
			return user.HistoryPage{}, err
		}
	}
	entries, more, err := s.store.History(ctx, id, place.Seq, limit)
	if err != nil {
		return user.HistoryPage{}, err
	}
	if len(entries) == 0 {
		return user.HistoryPage{}, s.checkKnown(ctx, id)
	}
	if entries[0].Type.OfGroup() { // whose events are in the same log
		return user.HistoryPage{}, store.ErrNotFound
	}
	page := user.HistoryPage{Entries: entries}
	if more {
		page.Next = user.EncodeCursor(historyPlace{entries[len(entries)-1].Seq}, listing)
	}
	return page, nil
}

func (s *Service) checkKnown(ctx context.Context, id uuid.UUID) error {
	known, err := s.store.Known(ctx, id)
	if err == nil && !known {
		_, err = s.store.Get(ctx, user.Ref{ID: id}) // its events may be past retention
	}
	return err
}

// Changes returns the events behind a cursor; an empty one is the beginning.
func (s *Service) Changes(ctx context.Context, cursor string, limit int) (user.ChangesPage, error) {
	after, err := s.placeOf(ctx, cursor)
	if err != nil {
		return user.ChangesPage{}, err
	}
	entries, more, err := s.store.Feed(ctx, after, limit)
	if err == nil {
		err = s.store.CheckFloor(ctx, after)
	}
	if cursor == "" && user.KindOf(err) == user.CursorExpired { // the beginning has just moved on
		return s.Changes(ctx, cursor, limit)
	}
	if err != nil {
		return user.ChangesPage{}, err
	}
	if len(entries) > 0 {
		after = entries[len(entries)-1].Place()
	}
	return user.ChangesPage{Entries: entries, Next: EncodeCursor(after), More: more}, nil
}

func (s *Service) placeOf(ctx context.Context, cursor string) (after user.Place, err error) {
	if cursor == "" {
		return s.store.Floor(ctx)
	}
	return decodeCursor(cursor)
}

// EncodeCursor writes a place in the feed as clients carry it. Unlike other cursors, clients keep it for as long as
// they follow the feed, so that its form cannot change.
func EncodeCursor(p user.Place) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "c%d.%d", p.XID, p.Seq))
}

// decodeCursor reads what EncodeCursor wrote, and nothing else.
func decodeCursor(cursor string) (p user.Place, err error) {
	decoded, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil && len(decoded) <= maxCursor {
		_, err = fmt.Sscanf(string(decoded), "c%d.%d", &p.XID, &p.Seq)
	}
	if err != nil || EncodeCursor(p) != cursor {
		return p, user.Problems{{Field: "after", Code: "validation_cursor", Message: "is not a cursor of the change feed: take it from an answer as it is"}}.Err()
	}
	return p, nil
}

const maxCursor = 64

// SearchUsers returns a page of the users that a SCIM filter finds.
func (s *Service) SearchUsers(ctx context.Context, q scim.Query) (scim.Page[*user.User], error) {
	return s.store.SearchUsers(ctx, q)
}

// SearchGroups returns a page of the groups that a SCIM filter finds.
func (s *Service) SearchGroups(ctx context.Context, q scim.Query) (scim.Page[*user.Group], error) {
	return s.store.SearchGroups(ctx, q)
}

// MembersOf returns the members of groups, by group and in the order of their ids. It stops before the
// group that would exceed most members in total, but always includes the first.
func (s *Service) MembersOf(ctx context.Context, groups []uuid.UUID, most int64) (map[uuid.UUID][]user.GroupMember, error) {
	return s.store.MembersOf(ctx, groups, most)
}

// The place of cursors in the vault's sealed values.
const (
	cursorRow      = "scim"
	cursorProvider = "cursor"
)

// SealCursor makes a cursor that shows nothing of its text and that no client can forge.
func (s *Service) SealCursor(text string) (string, error) {
	sealed, err := s.keys.Load().Seal(cursorRow, cursorProvider, secret.New(text))
	return base64.RawURLEncoding.EncodeToString([]byte(sealed)), err
}

// OpenCursor returns the text of a cursor that this service has made, in this process or another copy.
func (s *Service) OpenCursor(cursor string) (text string, ok bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || vault.KeyID(string(sealed)) == "" {
		return "", false
	}
	opened, err := s.keys.Load().Open(cursorRow, cursorProvider, string(sealed))
	return opened.Reveal(), err == nil
}
