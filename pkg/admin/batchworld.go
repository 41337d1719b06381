package admin

import (
	"maps"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// world is what is true for the next command of a batch.
type world struct {
	users map[uuid.UUID]*user.User        // those that commands are about; nil once deleted
	held  store.Held                      // who has which unique key
	seals map[uuid.UUID]map[string]string // sealed values by user and provider
}

func newWorld(known store.Known) world {
	w := world{users: make(map[uuid.UUID]*user.User, len(known.Users)), held: known.Held, seals: known.Seals}
	for _, u := range known.Users {
		w.users[u.ID] = u
		w.hold(u)
	}
	return w
}

// wanted collects what a batch has to know.
type wanted store.Wanted

func wantedFor(commands []user.Command, invalid []error) store.Wanted {
	w := wanted{Claims: make([]*user.Claim, len(commands))}
	for i, command := range commands {
		w.Claims[i] = command.Claim
		if invalid[i] == nil { // a value that breaks a rule may not even be fit for a query
			w.add(command)
		}
	}
	return store.Wanted(w)
}

func (w *wanted) add(command user.Command) {
	switch asked := command.Change.(type) {
	case user.Create:
		w.patch(asked.Patch)
		if asked.ID.Set {
			w.Keys[store.KeyID] = append(w.Keys[store.KeyID], asked.ID.Value.String())
		}
		return
	case user.Update:
		w.patch(asked.Patch)
		w.Seals = w.Seals || len(asked.Credentials.Set) > 0
	}
	if command.User.ID != uuid.Nil {
		w.IDs = append(w.IDs, command.User.ID)
	} else {
		w.Tags = append(w.Tags, command.User.Tag)
	}
}

func (w *wanted) patch(p user.Patch) {
	would := store.KeysOf(&user.User{Tag: p.Tag.Value, Email: p.Email.Value, ExternalID: p.ExternalID.Value})
	would[store.KeyID].Set = false // made by the service, or added by add
	would[store.KeyTag].Set = p.Tag.Set
	for index, key := range would {
		if key.Set {
			w.Keys[index] = append(w.Keys[index], key.Value)
		}
	}
}

// find returns the user that a command names, nil when there is none.
func (w *world) find(ref user.Ref) *user.User {
	if ref.ID != uuid.Nil {
		return w.users[ref.ID]
	}
	return w.users[w.held[store.KeyTag][ref.Tag]]
}

// conflict refuses a change to a user one of whose keys is another's, as the database would.
func (w *world) conflict(before, after *user.User) error {
	var own [4]store.Key
	if before != nil {
		own = store.KeysOf(before)
	}
	for index, key := range store.KeysOf(after) {
		if _, taken := w.held[index][key.Value]; key.Set && taken && key != own[index] {
			return store.Taken(index)
		}
	}
	return nil
}

func (w *world) hold(u *user.User) {
	for index, key := range store.KeysOf(u) {
		if key.Set {
			w.held[index][key.Value] = u.ID
		}
	}
}

func (w *world) release(u *user.User) {
	for index, key := range store.KeysOf(u) {
		if key.Set {
			delete(w.held[index], key.Value)
		}
	}
}

// advance makes a change true.
func (w *world) advance(c *change) {
	if c.before != nil {
		w.release(c.before)
		w.users[c.before.ID] = nil
	}
	if c.after == nil {
		delete(w.seals, c.before.ID)
		return
	}
	w.hold(c.after)
	w.users[c.after.ID] = c.after
	if w.seals[c.after.ID] == nil && len(c.sealed) > 0 {
		w.seals[c.after.ID] = map[string]string{}
	}
	maps.Copy(w.seals[c.after.ID], c.sealed)
	for _, provider := range c.dropped {
		delete(w.seals[c.after.ID], provider)
	}
}
