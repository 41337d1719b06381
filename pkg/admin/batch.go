package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"aiadmin/pkg/scim"
	"aiadmin/pkg/secret"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
)

var (
	errBusy         = user.Errorf(user.InProgress, "the same request is being carried out at this moment: try again shortly")
	errPrecondition = user.Errorf(user.PreconditionFailed, "the user's version is not the expected one: read it again")
	errKeyReused    = user.Errorf(user.KeyReused, "this Idempotency-Key was used with another body")

	// errBlind ends a blind attempt that refused a command with a claim: an earlier delivery's answer may
	// be there already.
	errBlind = errors.New("the claim of a refused command was not looked for")
)

// batch is one attempt to carry commands out in one transaction. Each rule for changing a user is here or
// in package user, once.
type batch struct {
	service  *Service
	keys     *vault.KeyRing // one throughout
	commands []user.Command
	invalid  []error // by command: what its change says of itself

	tx      *store.Tx
	known   *store.Known
	state   state
	pending pending

	answers  map[[32]byte]*store.Replay // to the claims of earlier commands of this batch
	records  []store.Record
	happened bool // there is an event among the records
}

func newBatch(s *Service, commands []user.Command) *batch {
	b := &batch{service: s, keys: s.keys.Load(), commands: commands, invalid: make([]error, len(commands)), answers: map[[32]byte]*store.Replay{}}
	for i := range commands {
		b.invalid[i] = commands[i].Change.Validate()
	}
	return b
}

// canBeBlind reports whether commands can be tried without learning anything before: they only create.
func canBeBlind(commands []user.Command) bool {
	for i := range commands {
		if _, creation := commands[i].Change.(user.Create); !creation {
			return false
		}
	}
	return true
}

// wanted collects what the batch has to know. A value that breaks a rule may not even be fit for a query.
func (b *batch) wanted() *store.Wanted {
	w := &store.Wanted{Claims: make([]store.Claim, len(b.commands))}
	for i, command := range b.commands {
		w.Claims[i] = store.Claim{Claim: command.Claim, Refused: b.invalid[i] != nil}
		if b.invalid[i] != nil {
			continue
		}
		switch change := command.Change.(type) {
		case user.Create:
			wantCreation(w, change)
			continue
		case user.Upsert:
			wantCreation(w, change.Create)
			wantUpdate(w, command.User, change.Update)
		case user.Update:
			wantUpdate(w, command.User, change)
		}
		w.Users = append(w.Users, command.User)
	}
	return w
}

func wantCreation(w *store.Wanted, creation user.Create) {
	if creation.ID.Set {
		w.Former = append(w.Former, creation.ID.Value)
		w.Keys[store.KeyID] = append(w.Keys[store.KeyID], creation.ID.Value.String())
	}
	wantKeys(w, creation.Patch)
}

func wantUpdate(w *store.Wanted, of user.Ref, update user.Update) {
	wantKeys(w, update.Patch)
	w.Seals = w.Seals || len(update.Credentials.Set) > 0
	if update.UserName.Set && update.UserName.Value == nil || update.Email.Set && update.Email.Value == nil {
		w.Fallbacks = append(w.Fallbacks, of)
	}
}

// wantKeys asks for the holders of the unique keys that a patch may bring. Which userName takes effect
// depends on the user, so all that could are asked for. Those that the user has are the database's to
// find, see [store.Wanted].
func wantKeys(w *store.Wanted, p user.Patch) {
	add := func(index int, value string) { w.Keys[index] = append(w.Keys[index], value) }
	if p.Tag.Set {
		add(store.KeyTag, p.Tag.Value)
		add(store.KeyUserName, user.FoldAddress(p.Tag.Value))
	}
	if p.Email.Value != nil {
		add(store.KeyEmail, user.FoldAddress(*p.Email.Value))
		add(store.KeyUserName, user.FoldAddress(*p.Email.Value))
	}
	if p.UserName.Value != nil {
		add(store.KeyUserName, user.FoldAddress(*p.UserName.Value))
	}
	if p.ExternalID.Value != nil {
		add(store.KeyExternalID, *p.ExternalID.Value)
	}
}

// judgeAll decides about each command, after the effects of those before it, and returns those that are
// about users whom another session holds.
func (b *batch) judgeAll(ctx context.Context, results []user.Result) (map[int]uuid.UUID, error) {
	held := map[int]uuid.UUID{}
	for i, command := range b.commands {
		if id, ok := b.heldBy(command); ok {
			held[i] = id
			continue
		}
		outcome, change, err := b.judge(i)
		if err != nil && b.known.Blind && command.Claim != nil {
			return nil, errBlind
		}
		if change != nil {
			if err := b.take(ctx, change); err != nil {
				return nil, err
			}
		}
		if err == nil && !outcome.Replayed {
			if err := b.record(command, outcome.UserID, change); err != nil {
				return nil, err
			}
		}
		results[i] = user.Result{Outcome: outcome, Err: err}
	}
	return held, nil
}

// heldBy returns the user that a command is about if another session holds it.
func (b *batch) heldBy(command user.Command) (uuid.UUID, bool) {
	if _, creation := command.Change.(user.Create); creation {
		return uuid.Nil, false
	}
	for _, u := range b.known.Held {
		if index, value := store.KeyOf(command.User); value != "" && value == store.KeysOf(u)[index] {
			return u.ID, true
		}
	}
	return uuid.Nil, false
}

// judge decides about one command. Its change, when there is one, has yet to be taken.
func (b *batch) judge(i int) (user.Outcome, *change, error) {
	command := b.commands[i]
	if command.Claim != nil {
		replay := b.known.Claims[i].Replay
		if replay == nil {
			replay = b.answers[command.Claim.Key()]
		}
		switch {
		case replay != nil:
			outcome, err := b.replay(replay, command)
			return outcome, nil, err
		case b.known.Claims[i].Busy:
			return user.Outcome{}, nil, errBusy
		}
	}
	if b.invalid[i] != nil {
		return user.Outcome{}, nil, b.invalid[i]
	}
	made, err := b.decide(command)
	if err != nil {
		return user.Outcome{}, nil, err
	}
	if made.event == nil {
		return user.Outcome{Before: made.before, User: made.before, UserID: made.before.ID}, nil, nil
	}
	return user.Outcome{Before: made.before, User: made.after, Event: made.event, UserID: made.event.UserID}, made, nil
}

// replay answers a command as its first delivery was.
func (b *batch) replay(replay *store.Replay, command user.Command) (user.Outcome, error) {
	outcome := user.Outcome{Event: replay.Event, UserID: replay.UserID, Replayed: true}
	same := command.Claim.Digest == nil || replay.Digest == nil || bytes.Equal(command.Claim.Digest, replay.Digest)
	if command.Claim.Kind == user.EventClaim {
		if !same {
			b.service.options.Log.Warn("an event was repeated with other data: the first delivery's effect stands",
				"source", command.Claim.Scope, "id", command.Claim.ID)
		}
		return outcome, nil
	}
	if !same {
		return user.Outcome{}, errKeyReused
	}
	if replay.Secret != "" {
		plain, err := b.keys.Open(replay.Event.UserID.String(), claimedSecret, replay.Secret)
		if err != nil {
			return user.Outcome{}, fmt.Errorf("the secret of a repeated request: %w", err)
		}
		outcome.Secret = plain
	}
	if creation, ok := command.Change.(user.Create); ok && outcome.Event != nil {
		event := *outcome.Event // the recorded one may be about to be written by this batch
		outcome.Event = &event
		return outcome, event.Restore(creation)
	}
	return outcome, nil
}

// claimedSecret stands in a provider's place when a claim's secret is sealed.
const claimedSecret = "ai-admin key"

// record notes what goes to the log, and the answer to the command's next delivery.
func (b *batch) record(command user.Command, of uuid.UUID, made *change) error {
	claim := command.Claim
	record := store.Record{UserID: of, Claim: claim, Expires: b.service.expiry(claim)}
	if made != nil {
		record.Event, record.Audit = made.event, made.audit
		if command.Audit != nil {
			record.Audit = append(record.Audit, *command.Audit)
		}
		b.happened = true
	}
	event := record.Event
	if claim != nil {
		if event != nil && claim.Secret.Len() > 0 {
			var err error
			if record.Secret, err = b.keys.Seal(event.UserID.String(), claimedSecret, claim.Secret); err != nil {
				return err
			}
		}
		b.answers[claim.Key()] = &store.Replay{Digest: claim.Digest, UserID: of, Event: event, Secret: record.Secret}
	}
	b.records = append(b.records, record)
	return nil
}

// change is what one command makes of a user.
type change struct {
	before, after *user.User // nil before a creation, after a deletion
	event         *user.Event
	sealed        map[string]string // by provider; an empty value is to be removed
	audit         []user.AuditEntry
}

// decide computes a command's change; one without an event changes nothing.
func (b *batch) decide(command user.Command) (*change, error) {
	if creation, ok := command.Change.(user.Create); ok {
		return b.create(command, creation)
	}
	before := b.state.find(command.User)
	if upsert, ok := command.Change.(user.Upsert); ok {
		if before == nil {
			command.Change = upsert.Create
			if err := upsert.Create.Validate(); err != nil {
				return nil, err
			}
			return b.create(command, upsert.Create)
		}
		command.Change = upsert.Update
	}
	if before == nil {
		return nil, store.ErrNotFound
	}
	modification, ok := command.Change.(user.Modification)
	if !ok {
		return b.remove(before, command)
	}
	if !command.Allow(before.Version) {
		return nil, errPrecondition
	}
	after, err := modification.Apply(before, b.stamp(before, command))
	if err != nil || after == before {
		return &change{before: before}, err
	}
	return b.write(before, reconciled(before, after, command), command)
}

// reconciled makes the attributes that are kept for an identity provider follow a change that another API
// made. The SCIM API has done so by itself, and says that by setting them.
func reconciled(before, after *user.User, command user.Command) *user.User {
	update, ok := command.Change.(user.Update)
	if ok && !update.SCIM.Set && len(before.SCIM) > len("{}") {
		after.SCIM = scim.Profile{User: before}.Reconcile(after)
	}
	return after
}

// create makes a user. Before it, the user's version is 0: that is all that a precondition can ask.
func (b *batch) create(command user.Command, creation user.Create) (*change, error) {
	if !command.Allow(0) {
		return nil, errPrecondition
	}
	created, err := creation.Apply(b.state.former[creation.ID.Value], b.stamp(&user.User{}, command))
	if err != nil {
		return nil, err
	}
	return b.write(nil, created, command)
}

func (b *batch) remove(before *user.User, command user.Command) (*change, error) {
	if err := sameTag(before, command.User); err != nil {
		return nil, err
	}
	if !command.Allow(before.Version) {
		return nil, errPrecondition
	}
	event := user.Removed(before, command, user.Timestamp(b.service.options.Now()))
	return &change{before: before, event: &event, audit: audited(user.RevokeKeys{}, before, &user.User{}, command)}, nil
}

// sameTag refuses a deletion that names the user by an id and by another user's tag: it
// could not be undone.
func sameTag(found *user.User, ref user.Ref) error {
	if ref.Tag == "" || ref.Tag == found.Tag {
		return nil
	}
	return user.Problems{{Field: "tag", Code: "validation_mismatch", Message: "is not the tag of the user with this id"}}.Err()
}

func (b *batch) stamp(before *user.User, command user.Command) user.Stamp {
	stamp := user.Stamp{Now: user.Timestamp(b.service.options.Now()), KeyID: b.keys.Primary(), Actor: command.Actor}
	seals := b.state.seals[before.ID]
	stamp.Same = func(provider string, plain secret.Text) bool {
		stored, ok := seals[provider]
		if !ok {
			return false
		}
		opened, err := b.keys.Open(before.ID.String(), provider, stored) // what cannot be opened is replaced
		return err == nil && opened.Reveal() == plain.Reveal()
	}
	return stamp
}

// write completes a change from before (nil for a creation): it seals new secrets, and refuses a unique
// key that another user has, as the database would.
func (b *batch) write(before, after *user.User, command user.Command) (*change, error) {
	if err := b.state.conflict(before, after); err != nil {
		return nil, err
	}
	event := user.Recorded(before, after, command)
	c := &change{before: before, after: after, event: &event, sealed: map[string]string{}}
	if before == nil {
		before = &user.User{}
	}
	c.audit = audited(command.Change, before, after, command)
	for _, credential := range after.Credentials {
		if old := before.Credential(credential.Provider); old != nil && *old == credential {
			continue
		}
		plain := command.Change.(interface{ Secrets() map[string]secret.Text }).Secrets()[credential.Provider]
		sealed, err := b.keys.Seal(after.ID.String(), credential.Provider, plain)
		if err != nil {
			return nil, err
		}
		c.sealed[credential.Provider] = sealed
	}
	for _, credential := range before.Credentials {
		if after.Credential(credential.Provider) == nil {
			c.sealed[credential.Provider] = ""
		}
	}
	return c, nil
}

// take makes a change true, and writes what is pending first where the database would find
// the two in each other's way.
func (b *batch) take(ctx context.Context, c *change) error {
	if b.pending.blocks(c) {
		if err := b.tx.Write(ctx, b.pending.writes()); err != nil {
			return err
		}
		b.pending = pending{}
	}
	b.pending.add(c)
	b.state.advance(c)
	return nil
}

// audited returns what the audit log says of a change, if it records it at all.
func audited(of user.Change, before, after *user.User, command user.Command) []user.AuditEntry {
	change, ok := of.(user.AuditsItself)
	if !ok {
		return nil
	}
	entries := change.Audit(before, after)
	for i := range entries {
		e := &entries[i]
		e.Actor, e.RequestID, e.SourceIP, e.UserID = command.Actor, command.Cause, command.SourceIP, before.ID
	}
	return entries
}
