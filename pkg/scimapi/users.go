package scimapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/request"
	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

func (x *exchange) command(change user.Change, id uuid.UUID) user.Command {
	return user.Command{Change: change, User: user.Ref{ID: id}, Origin: request.Origin(x.r)}
}

// createUser makes a user (RFC 7644, section 3.3). It never takes over one that exists: the provider finds
// that one by its filter.
func (x *exchange) createUser() error {
	projection, err := x.projection(scim.Users)
	if err != nil {
		return err
	}
	body, done, err := x.body(scim.Users)
	if err != nil {
		return err
	}
	defer done()
	resource, err := scim.Users.Read(body)
	if err != nil {
		return err
	}
	change, err := scim.Create(resource, user.NewID())
	if err != nil {
		return err
	}
	if err := x.permit(nil, change); err != nil {
		return err
	}
	outcome, err := x.options.Admin.Apply(x.r.Context(), x.command(user.Create{Patch: change.Patch}, uuid.Nil))
	if user.KindOf(err) == user.DuplicateTag && change.AlternativeTag != "" {
		change.Tag = user.Some(change.AlternativeTag)
		outcome, err = x.options.Admin.Apply(x.r.Context(), x.command(user.Create{Patch: change.Patch}, uuid.Nil))
	}
	if err != nil {
		return err
	}
	x.answer(http.StatusCreated, scim.Profile{User: outcome.User}.Resource(x.base), projection)
	return nil
}

func (x *exchange) getUser() error {
	id, err := x.id(scim.Users)
	if err != nil {
		return err
	}
	projection, err := x.projection(scim.Users)
	if err != nil {
		return err
	}
	found, err := x.options.Admin.Get(x.r.Context(), user.Ref{ID: id})
	if err != nil || x.unmodified(found.Version) {
		return err
	}
	x.answer(http.StatusOK, scim.Profile{User: found}.Resource(x.base), projection)
	return nil
}

// replaceUser replaces what a client may write of a user (RFC 7644, section 3.5.1).
func (x *exchange) replaceUser() error {
	return x.updateUser(func(body []byte) (mapping, error) {
		resource, err := scim.Users.Read(body)
		return func(p scim.Profile) (scim.Change, error) { return p.Replace(resource) }, err
	})
}

// patchUser carries out the operations of a PATCH, all or none (RFC 7644, section 3.5.2).
func (x *exchange) patchUser() error {
	return x.updateUser(func(body []byte) (mapping, error) {
		patch, err := scim.Users.ParsePatch(body)
		return func(p scim.Profile) (scim.Change, error) { return p.Patch(patch) }, err
	})
}

// mapping says what a request changes of a user.
type mapping func(scim.Profile) (scim.Change, error)

func (x *exchange) updateUser(read func(body []byte) (mapping, error)) error {
	return x.update(scim.Users, func(id uuid.UUID, body []byte, projection scim.Projection) error {
		change, err := read(body)
		if err != nil {
			return err
		}
		var after *user.User
		err = x.onVersionRead(id, func(before *user.User, condition *user.Precondition) error {
			after, err = x.apply(before, condition, change)
			return err
		})
		if err != nil {
			return err
		}
		x.answer(http.StatusOK, scim.Profile{User: after}.Resource(x.base), projection)
		return nil
	})
}

// apply changes a user on condition of the version that was read.
func (x *exchange) apply(before *user.User, condition *user.Precondition, mapped mapping) (*user.User, error) {
	change, err := mapped(scim.Profile{User: before})
	if err != nil {
		return nil, err
	}
	if err := x.permit(before, change); err != nil || change.Empty() {
		return before, err
	}
	if !change.SCIM.Set { // as it is: the write path leaves it to this API
		change.SCIM = user.Some(before.SCIM)
	}
	command := x.command(user.Update{Patch: change.Patch}, before.ID)
	command.IfMatch = condition
	outcome, err := x.options.Admin.Apply(x.r.Context(), command)
	if err == nil {
		x.logLifted(before.ID, change)
	}
	return outcome.User, err
}

// logLifted tells of limits that a provider has removed: the user may spend without a bound from now on.
func (x *exchange) logLifted(id uuid.UUID, change scim.Change) {
	limits := change.Limits.Value
	if limits == nil {
		return
	}
	for name, lifted := range map[string]bool{"requestsPerMinute": limits.RequestsPerMinute.Set && limits.RequestsPerMinute.Value == nil,
		"tokensPerMinute":    limits.TokensPerMinute.Set && limits.TokensPerMinute.Value == nil,
		"monthlyBudgetCents": limits.MonthlyBudgetUSD.Set && limits.MonthlyBudgetUSD.Value == nil} {
		if lifted {
			x.options.Log.WarnContext(x.r.Context(), "an identity provider lifted a limit", "user", id, "limit", name, "actor", x.caller.Name)
		}
	}
}

// racePatience is how long a change is tried again that others came before.
const racePatience = 10 * time.Second

// onVersionRead reads a user and lets f change it on condition of that version. When another change came
// first, it does so again, unless the client named the version itself.
func (x *exchange) onVersionRead(id uuid.UUID, f func(*user.User, *user.Precondition) error) error {
	ctx, cancel := context.WithTimeout(x.r.Context(), racePatience)
	defer cancel()
	asked := x.preconditions()
	for {
		before, err := x.options.Admin.Get(x.r.Context(), user.Ref{ID: id})
		if err != nil {
			return err
		}
		if !asked.Allow(before.Version) {
			return errVersion
		}
		err = f(before, &user.Precondition{Versions: []int64{before.Version}})
		if user.KindOf(err) != user.PreconditionFailed {
			return err
		}
		if asked.IfMatch != nil && !asked.IfMatch.Any {
			return errVersion
		}
		select {
		case <-ctx.Done():
			return user.Errorf(user.Unavailable, "others are changing the same data: try again shortly").Wrap(err)
		case <-time.After(rand.N(5 * time.Millisecond)): //nolint:gosec // no secret
		}
	}
}

var errVersion = user.Errorf(user.PreconditionFailed, "the resource's version is not the one that If-Match or If-None-Match asks for: read it again")

func (x *exchange) deleteUser() error {
	id, err := x.id(scim.Users)
	if err != nil {
		return err
	}
	err = x.onVersionRead(id, func(before *user.User, condition *user.Precondition) error {
		if before.Role == user.Admin {
			if err := x.refuse(user.SCIMDelete, id); err != nil {
				return err
			}
		}
		command := x.command(user.Delete{}, id)
		command.IfMatch = condition
		_, err := x.options.Admin.Apply(x.r.Context(), command)
		return err
	})
	if err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// permit refuses to make or unmake an admin, unless providers may: whoever runs one would own the product.
func (x *exchange) permit(before *user.User, change scim.Change) error {
	id := uuid.Nil
	if before != nil {
		id = before.ID
	}
	switch {
	case change.Role.Set && change.Role.Value == user.Admin:
		return x.refuse(user.SCIMGrant, id)
	case before != nil && before.Role == user.Admin && change.Role.Set:
		return x.refuse(user.SCIMRevoke, id)
	case before != nil && before.Role == user.Admin && change.Status.Set:
		return x.refuse(user.SCIMSuspend, id)
	}
	return nil
}

// refuse is nil when providers may change admins. Otherwise it records the attempt.
func (x *exchange) refuse(action user.AuditAction, id uuid.UUID) error {
	if x.options.GrantAdmin() {
		return nil
	}
	ctx := x.r.Context()
	x.options.Log.WarnContext(ctx, "an identity provider may not change admins", "action", action, "user", id, "actor", x.caller.Name)
	entry := request.AuditEntry(x.r, action)
	entry.Outcome, entry.UserID = user.Denied, id
	if err := x.options.Audit(ctx, entry); err != nil {
		return err
	}
	return user.Errorf(user.Forbidden, "an identity provider may not make, suspend or delete an admin: set scim.grantAdmin in config.yaml, or use the native API")
}
