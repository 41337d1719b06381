package store

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// crowds bounds how many changes of one user hold a connection at once. They go one after
// the other all the same: when somebody else holds the user's row, the others wait for it here.
type crowds struct {
	mu    sync.Mutex
	users map[uuid.UUID]*crowd // with changes under way or waiting
}

type crowd struct {
	places chan struct{}
	size   int
}

// placesOfUser are two, so that the repetition of a request that is being carried out is told so.
const placesOfUser = 2

// enter waits for a place among the changes of a user, which leave gives back.
func (c *crowds) enter(ctx context.Context, id uuid.UUID, patience time.Duration) (leave func(), err error) {
	crowd := c.join(id)
	leave = func() { <-crowd.places; c.part(id, crowd) }
	select {
	case crowd.places <- struct{}{}:
		return leave, nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case crowd.places <- struct{}{}:
		return leave, nil
	case <-timer.C:
		err = errHeld
	case <-ctx.Done():
		err = translate(ctx.Err())
	}
	c.part(id, crowd)
	return nil, err
}

func (c *crowds) join(id uuid.UUID) *crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == nil {
		c.users = map[uuid.UUID]*crowd{}
	}
	if c.users[id] == nil {
		c.users[id] = &crowd{places: make(chan struct{}, placesOfUser)}
	}
	c.users[id].size++
	return c.users[id]
}

func (c *crowds) part(id uuid.UUID, crowd *crowd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if crowd.size--; crowd.size == 0 {
		delete(c.users, id)
	}
}
