package console

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// Status is the present state of the service.
type Status struct {
	Version  string
	Started  time.Time
	Checks   []Check
	Database Database
	Relay    Relay
	Mounts   []Mount
	Vault    []VaultKey
	VaultErr error // why its keys are not known
}

// Check is one condition of readiness; Err is why it fails.
type Check struct {
	Name string
	Err  error
}

// Database is the database that the service uses.
type Database struct {
	Version, Name, Role string
	// Primary says that it takes writes.
	Primary bool
	Err     error
}

// Relay describes the events that wait to be sent to the sink. With Err, only Sink is known.
type Relay struct {
	Sink         string // without passwords; empty for none
	OldestUnsent time.Time
	ParkedEvents int
	Parked       []ParkedEvent
	Err          error
}

// ParkedEvent is an event that the sink refused for good.
type ParkedEvent struct {
	ID       uuid.UUID
	Type     user.EventType
	UserID   uuid.UUID
	At       time.Time
	ParkedAt time.Time
	Fault    string // the sink's answer
	Tries    int
}

// Mount is a mounted volume.
type Mount struct {
	Name   string
	Loaded time.Time // of the value in use
	Err    error     // why a newer one is refused
}

// VaultKey is a key of the vault.
type VaultKey struct {
	ID      string // empty for the old function's values, which name no key
	Primary bool
	Missing bool // the mounted key ring does not have it
	Values  int64
}

type operationPage struct {
	page
	Status
	Lag time.Duration
	// Ready says that every check passes.
	Ready bool
	Tags  map[string]string // of the users with parked events, and the names of groups, by id
}

// ParkedCount returns how many events are parked.
func (p operationPage) ParkedCount() int64 { return int64(p.Relay.ParkedEvents) }

// NotShown is how many parked events the page leaves out.
func (p operationPage) NotShown() int64 { return p.ParkedCount() - int64(len(p.Relay.Parked)) }

func (c *Console) serveOperation(w http.ResponseWriter, r *http.Request, s *session) error {
	p := operationPage{page: c.page(r, s, "operation.title", "operation"), Status: c.options.Status(r.Context()), Ready: true}
	for _, check := range p.Checks {
		p.Ready = p.Ready && check.Err == nil
	}
	if p.Relay.Sink != "" && !p.Relay.OldestUnsent.IsZero() {
		p.Lag = time.Since(p.Relay.OldestUnsent).Round(time.Second)
	}
	var about subjects
	for _, parked := range p.Relay.Parked {
		about.add(parked.Type, parked.UserID)
	}
	p.Tags = c.tags(r, s, about)
	return c.render(w, r, http.StatusOK, "operation", p)
}

// resend releases parked events, so that they are sent again.
func (c *Console) resend(w http.ResponseWriter, r *http.Request, s *session) error {
	of := uuid.Nil
	if typed := r.PostFormValue("user"); typed != "" {
		id, ok := user.ParseID(typed)
		if !ok {
			return user.Errorf(user.Malformed, "the form cannot be read: send it again")
		}
		of = id
	}
	if _, err := c.options.Resend(r, of); err != nil {
		return err
	}
	return redirect(w, r, Path+"operation?done=resent")
}
