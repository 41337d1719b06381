package admin

import (
	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// state is what is true for the next command of a batch.
type state struct {
	users   map[uuid.UUID]*user.User        // those that commands are about; nil once deleted
	holders store.Holders                   // who has which unique key
	seals   map[uuid.UUID]map[string]string // sealed values by user and provider
	former  map[uuid.UUID]int64             // last versions of deleted users
}

func newState(known *store.Known) state {
	st := state{users: make(map[uuid.UUID]*user.User, len(known.Users)), holders: known.Holders, seals: known.Seals, former: known.Former}
	for _, u := range known.Users {
		st.users[u.ID] = u
		st.hold(u)
	}
	return st
}

// find returns the user that a command names, nil when there is none.
func (st *state) find(ref user.Ref) *user.User {
	if ref.ID != uuid.Nil {
		return st.users[ref.ID]
	}
	index, value := store.KeyOf(ref)
	return st.users[st.holders[index][value]]
}

// conflict refuses a change to a user one of whose unique keys is another's. The userName is told last:
// it stands for the tag or the e-mail address where there is none.
func (st *state) conflict(before, after *user.User) error {
	own := store.KeysOf(&user.User{})
	if before != nil {
		own = store.KeysOf(before)
	}
	for index, key := range store.KeysOf(after) {
		if _, taken := st.holders[index][key]; key != "" && taken && key != own[index] {
			return store.Taken(index)
		}
	}
	return nil
}

func (st *state) hold(u *user.User) {
	for index, key := range store.KeysOf(u) {
		if key != "" {
			st.holders[index][key] = u.ID
		}
	}
}

// advance makes a change true.
func (st *state) advance(c *change) {
	if c.before != nil {
		for index, key := range store.KeysOf(c.before) {
			delete(st.holders[index], key)
		}
		st.users[c.before.ID] = nil
	}
	if c.after == nil {
		delete(st.seals, c.before.ID)
		st.former[c.before.ID] = c.event.Version
		return
	}
	st.hold(c.after)
	st.users[c.after.ID] = c.after
	for provider, sealed := range c.sealed {
		if st.seals[c.after.ID] == nil {
			st.seals[c.after.ID] = map[string]string{}
		}
		if sealed == "" {
			delete(st.seals[c.after.ID], provider)
		} else {
			st.seals[c.after.ID][provider] = sealed
		}
	}
}

// pending are changes that are true for the batch and not yet in the database. However
// often a user was changed, it is written once.
type pending struct {
	order []uuid.UUID
	users map[uuid.UUID]*pendingUser
	freed map[uniqueKey]bool // what the database still knows as another user's
}

type pendingUser struct {
	before *user.User        // as the database has it; nil: not at all
	now    *user.User        // nil: deleted
	sealed map[string]string // by provider; empty: to be removed
}

type uniqueKey struct {
	index int // see store.UniqueKeys
	value string
}

// blocks reports whether one statement for what is pending and a change could fail: a user takes over a key
// which another gave up by an update, or the id of a deleted one; or one API key gets a second secret.
func (p *pending) blocks(c *change) bool {
	if c.after == nil {
		return false
	}
	if old := p.users[c.after.ID]; old != nil && (old.now == nil || freshKeys(old.now) && freshKeys(c.after)) {
		return true
	}
	for index, value := range store.KeysOf(c.after) {
		if p.freed[uniqueKey{index, value}] {
			return true
		}
	}
	return false
}

// freshKeys reports whether a pending change gave one of the user's API keys a secret.
func freshKeys(u *user.User) bool {
	for i := range u.Keys {
		if u.Keys[i].Hash != nil {
			return true
		}
	}
	return false
}

func (p *pending) add(c *change) {
	if p.users == nil {
		*p = pending{users: map[uuid.UUID]*pendingUser{}, freed: map[uniqueKey]bool{}}
	}
	id := c.event.UserID
	u := p.users[id]
	if u == nil {
		u = &pendingUser{before: c.before, sealed: map[string]string{}}
		p.users[id] = u
		p.order = append(p.order, id)
	}
	u.now = c.after
	for provider, sealed := range c.sealed {
		u.sealed[provider] = sealed
	}
	if c.before == nil || c.after == nil {
		return
	}
	before, after := store.KeysOf(c.before), store.KeysOf(c.after)
	for index := range before {
		if before[index] != "" && before[index] != after[index] {
			p.freed[uniqueKey{index, before[index]}] = true
		}
	}
}

// writes returns what is pending as the store writes it.
func (p *pending) writes() *store.Writes {
	w := &store.Writes{}
	for _, id := range p.order {
		u := p.users[id]
		switch {
		case u.now == nil && u.before != nil:
			w.Delete = append(w.Delete, id)
			continue
		case u.now == nil: // made and deleted within the batch
			continue
		case u.before != nil:
			w.Update = append(w.Update, u.now)
		default:
			w.Insert = append(w.Insert, u.now)
		}
		for provider, sealed := range u.sealed {
			w.Seal = append(w.Seal, store.Seal{User: u.now, Provider: provider, Sealed: sealed})
		}
		u.writeKeys(&w.Keys)
	}
	return w
}

// writeKeys adds what became of the user's API keys.
func (u *pendingUser) writeKeys(w *store.KeyWrites) {
	before := u.before
	if before == nil {
		before = &user.User{}
	}
	for i := range u.now.Keys {
		key := &u.now.Keys[i]
		switch old := before.Key(key.ID); {
		case old == nil:
			w.Insert = append(w.Insert, store.UserKey{UserID: u.now.ID, Key: *key})
		case key.Hash != nil || !key.SameAs(old):
			w.Update = append(w.Update, store.UserKey{UserID: u.now.ID, Key: *key})
		}
	}
	for i := range before.Keys {
		if id := before.Keys[i].ID; u.now.Key(id) == nil {
			w.Delete = append(w.Delete, id)
		}
	}
}
