package scimapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"aiadmin/pkg/request"
	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

// changeGroup carries out a change of a group on the versions that the client names.
func (x *exchange) changeGroup(action user.GroupAction, id uuid.UUID, patch user.GroupPatch) (*user.Group, error) {
	outcome, err := x.options.Admin.ApplyGroup(x.r.Context(), user.GroupCommand{Action: action, ID: id, Patch: patch, Origin: request.Origin(x.r), Preconditions: x.preconditions()})
	return outcome.Group, err
}

// createGroup makes a group with its members (RFC 7644, section 3.3).
func (x *exchange) createGroup() error {
	projection, err := x.projection(scim.Groups)
	if err != nil {
		return err
	}
	body, done, err := x.body(scim.Groups)
	if err != nil {
		return err
	}
	defer done()
	patch, err := scim.ReadGroup(body)
	if err != nil {
		return err
	}
	group, err := x.changeGroup(user.CreateGroup, user.NewID(), patch)
	if err != nil {
		return err
	}
	return x.answerGroup(http.StatusCreated, group, projection)
}

func (x *exchange) getGroup() error {
	id, err := x.id(scim.Groups)
	if err != nil {
		return err
	}
	projection, err := x.projection(scim.Groups)
	if err != nil {
		return err
	}
	group, err := x.options.Admin.Group(x.r.Context(), id)
	if err != nil || x.unmodified(group.Version) {
		return err
	}
	return x.answerGroup(http.StatusOK, group, projection)
}

// replaceGroup replaces a group and its members (RFC 7644, section 3.5.1).
func (x *exchange) replaceGroup() error {
	return x.updateGroup(func(_ uuid.UUID, body []byte) (user.GroupPatch, error) { return scim.ReadGroup(body) }, true)
}

// patchGroup changes a group (RFC 7644, section 3.5.2). It reads no members and shows none, unless the client
// asks for attributes.
func (x *exchange) patchGroup() error { return x.updateGroup(scim.PatchGroup, false) }

func (x *exchange) updateGroup(read func(uuid.UUID, []byte) (user.GroupPatch, error), shows bool) error {
	return x.update(scim.Groups, func(id uuid.UUID, body []byte, projection scim.Projection) error {
		patch, err := read(id, body)
		if err != nil {
			return err
		}
		group, err := x.changeGroup(user.UpdateGroup, id, patch)
		if err != nil {
			return err
		}
		if shows || projection.Given() {
			return x.answerGroup(http.StatusOK, group, projection)
		}
		x.w.Header().Set("ETag", etag(group.Version))
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

func (x *exchange) deleteGroup() error {
	id, err := x.id(scim.Groups)
	if err != nil {
		return err
	}
	if _, err := x.changeGroup(user.DeleteGroup, id, user.GroupPatch{}); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (x *exchange) answerGroup(status int, group *user.Group, projection scim.Projection) error {
	shown, done, err := x.withMembers(x.r.Context(), []*user.Group{group}, projection)
	if err != nil {
		return err
	}
	defer done()
	x.answer(status, shown[0].Resource(x.base), projection)
	return nil
}

// listedMembers bounds the members of one page of groups.
const listedMembers = 20_000

// withMembers returns groups as they are shown, the first of them if they have too many members. Done must be
// called once they are of no more use.
func (x *exchange) withMembers(ctx context.Context, groups []*user.Group, projection scim.Projection) (shown []scim.Group, done func(), err error) {
	if !projection.Wants("members") || len(groups) == 0 {
		for _, g := range groups {
			shown = append(shown, scim.Group{Group: g})
		}
		return shown, func() {}, nil
	}
	select {
	case x.large <- struct{}{}:
		done = func() { <-x.large }
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	ids := make([]uuid.UUID, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
	}
	members, err := x.options.Admin.MembersOf(ctx, ids, listedMembers)
	if err != nil {
		done()
		return nil, nil, err
	}
	for _, g := range groups {
		of, ok := members[g.ID]
		if !ok {
			break
		}
		group := scim.Group{Group: g, Members: make([]scim.Member, len(of))}
		for i, m := range of {
			if group.Members[i].ID = m.ID; projection.WantsDisplay() {
				group.Members[i].Display = m.Name
			}
		}
		shown = append(shown, group)
	}
	return shown, done, nil
}
