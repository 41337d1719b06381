package admin

import (
	"context"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// pending are changes that are true for the batch and not yet in the database. However
// often a user was changed, it is written once.
type pending struct {
	order []uuid.UUID
	users map[uuid.UUID]*pendingUser
	freed map[heldKey]bool // unique keys that the database still knows as another user's
}

type pendingUser struct {
	stored bool              // the database has the user
	now    *user.User        // nil: deleted
	seals  map[string]string // by provider; empty: to be removed
}

type heldKey struct {
	index int // of store.Keys
	key   store.Key
}

// take makes a change true, and writes what is pending first where the database would find
// the two in each other's way: a user that takes over a key which another gave up by an
// update, or an id whose user was deleted. One statement for both could see the key taken.
func (b *batch) take(ctx context.Context, c *change) error {
	if b.pending.blocks(c) {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.pending.add(c)
	b.world.advance(c)
	return nil
}

func (p *pending) blocks(c *change) bool {
	if c.after == nil {
		return false
	}
	if old := p.users[c.after.ID]; old != nil && old.now == nil {
		return true
	}
	for index, key := range store.KeysOf(c.after) {
		if p.freed[heldKey{index, key}] {
			return true
		}
	}
	return false
}

func (p *pending) add(c *change) {
	if p.users == nil {
		*p = pending{users: map[uuid.UUID]*pendingUser{}, freed: map[heldKey]bool{}}
	}
	id := c.event.UserID
	u := p.users[id]
	if u == nil {
		u = &pendingUser{stored: c.before != nil, seals: map[string]string{}}
		p.users[id] = u
		p.order = append(p.order, id)
	}
	u.now = c.after
	for provider, sealed := range c.sealed {
		u.seals[provider] = sealed
	}
	for _, provider := range c.dropped {
		u.seals[provider] = ""
	}
	if c.before != nil && c.after != nil {
		p.free(store.KeysOf(c.before), store.KeysOf(c.after))
	}
}

func (p *pending) free(before, after [4]store.Key) {
	for index := range before {
		if before[index].Set && before[index] != after[index] {
			p.freed[heldKey{index, before[index]}] = true
		}
	}
}

// flush writes what is pending.
func (b *batch) flush(ctx context.Context) error {
	group := b.pending.group()
	b.pending = pending{}
	return b.bulk.Write(ctx, group)
}

func (p *pending) group() store.Group {
	var group store.Group
	for _, id := range p.order {
		u := p.users[id]
		switch {
		case u.now == nil && u.stored:
			group.Delete = append(group.Delete, id)
			continue
		case u.now == nil: // made and deleted within the group
			continue
		case u.stored:
			group.Update = append(group.Update, u.now)
		default:
			group.Insert = append(group.Insert, u.now)
		}
		for provider, sealed := range u.seals {
			group.Seal = append(group.Seal, store.Seal{User: id, Provider: provider, Sealed: sealed})
		}
	}
	return group
}
