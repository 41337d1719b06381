package app

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"aiadmin/pkg/access"
	"aiadmin/pkg/admin"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/console"
	"aiadmin/pkg/httpapi"
	"aiadmin/pkg/relay"
	"aiadmin/pkg/request"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

// console makes the pages for administrators.
func (a *App) console(routes http.Handler, gate *httpapi.Gate, options Options) http.Handler {
	return console.New(console.Options{Admin: a.admin, Routes: routes, Authenticate: a.auth.Authenticate, SignIn: a.auth,
		Vault: func() *vault.KeyRing { return a.mounts.Vault.Value() }, Enter: gate.Enter, Once: options.SignInOnce,
		Status: a.status, Resend: a.resend, FindKey: a.findKey, Now: a.feedHead,
		SignedIn: func(r *http.Request) error {
			return a.admin.Audit(r.Context(), request.AuditEntry(r, user.ConsoleSignedIn))
		},
		Refused: func(r *http.Request, scope auth.Scope, err error) { a.api.AuditRefusal(r, scope, err) }})
}

// feedHead is the cursor behind the change feed's last event.
func (a *App) feedHead(ctx context.Context) (string, error) {
	head, err := a.store.Head(ctx)
	return admin.EncodeCursor(head), err
}

// findKey returns the key that a secret belongs to; nil when it is nobody's.
func (a *App) findKey(ctx context.Context, pasted access.Secret) (*user.ListedKey, error) {
	key, err := a.store.KeyOwner(ctx, pasted.Hash())
	if user.KindOf(err) == user.NotFound {
		return nil, nil //nolint:nilnil // nobody's
	}
	return &key, err
}

// resend lets parked events be sent again, in the name of who asks.
func (a *App) resend(r *http.Request, of uuid.UUID) (int64, error) {
	return relay.Resend(r.Context(), a.store, of, request.AuditEntry(r, user.EventsResent))
}

// shownParked bounds the parked events that a page lists.
const shownParked = 100

// status is how the service is at present, for the console.
func (a *App) status(ctx context.Context) console.Status {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	s := console.Status{Version: a.version, Started: a.began, Relay: a.relayStatus(ctx)}
	for _, one := range a.checks(ctx) {
		s.Checks = append(s.Checks, console.Check{Name: one.name, Err: shown(one.run())})
	}
	server, err := a.store.Server(ctx)
	s.Database = console.Database{Role: server.Role, Name: server.Name, Version: server.Version, Primary: server.Primary, Err: shown(err)}
	for _, v := range a.mounts.volumes() {
		s.Mounts = append(s.Mounts, console.Mount{Name: v.Name(), Loaded: v.Loaded(), Err: v.Err()})
	}
	s.Vault, err = a.vaultKeys(ctx)
	s.VaultErr = shown(err)
	return s
}

// shown is what a page tells of an error; the driver's text, which names hosts and roles, is for the log.
func shown(err error) error {
	if public, ok := errors.AsType[*user.Error](err); ok {
		return errors.New(public.Message)
	}
	return store.Loggable(err)
}

func (a *App) relayStatus(ctx context.Context) (s console.Relay) {
	s.Sink = a.relay.Sink()
	parked, err := relay.CountParked(ctx, a.store)
	if err == nil {
		s.ParkedEvents = parked.Events
		s.OldestUnsent, err = relay.OldestUnsent(ctx, a.store)
	}
	var list []relay.ParkedEvent
	if err == nil && parked.Events > 0 {
		list, err = relay.ListParked(ctx, a.store, uuid.Nil, shownParked)
	}
	for _, p := range list {
		s.Parked = append(s.Parked, console.ParkedEvent(p))
	}
	s.Err = shown(err)
	return s
}

// vaultKeys counts the values under each key of the vault.
func (a *App) vaultKeys(ctx context.Context) (keys []console.VaultKey, err error) {
	counts, err := a.store.SealedBy(ctx)
	if err != nil {
		return nil, err
	}
	ring := a.mounts.Vault.Value()
	for _, id := range ring.IDs() {
		keys = append(keys, console.VaultKey{ID: id, Primary: id == ring.Primary(), Values: counts[id]})
		delete(counts, id)
	}
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		keys = append(keys, console.VaultKey{ID: id, Missing: id != "", Values: counts[id]})
	}
	return keys, nil
}
