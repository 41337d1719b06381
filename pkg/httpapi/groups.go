package httpapi

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

const groupsPath = "/ai/admin/groups"

var errNoGroup = user.Errorf(user.NotFound, "no such group: name it by its id, a UUID")

// groupID returns the group that the path names.
func groupID(r *http.Request) (uuid.UUID, error) {
	id, ok := user.ParseID(r.PathValue("GroupID"))
	if !ok {
		return id, errNoGroup
	}
	return id, nil
}

func (a *API) listGroups(w http.ResponseWriter, r *http.Request) error {
	values, query, err := pageQuery(r)
	if err != nil {
		return err
	}
	groups, next, err := a.options.Admin.Groups(r.Context(), query.Cursor, query.Limit)
	if err != nil {
		return err
	}
	return writePage(w, r, values, listed{name: "groups", limit: query.Limit, next: next}, groups,
		func(dst []byte, g **user.Group) []byte { return (*g).AppendJSON(dst) })
}

func (a *API) getGroup(w http.ResponseWriter, r *http.Request) error {
	id, err := groupID(r)
	if err != nil {
		return err
	}
	group, err := a.options.Admin.Group(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(group.Version))
	if unmodified(r, etag(group.Version)) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeJSON(w, r, http.StatusOK, group.AppendJSON(nil))
}

func (a *API) listMembers(w http.ResponseWriter, r *http.Request) error {
	id, err := groupID(r)
	if err != nil {
		return err
	}
	values, query, err := pageQuery(r)
	if err != nil {
		return err
	}
	members, next, err := a.options.Admin.Members(r.Context(), id, query.Cursor, query.Limit)
	if err != nil {
		return err
	}
	return writePage(w, r, values, listed{name: "members", limit: query.Limit, next: next}, members, func(dst []byte, m *user.GroupMember) []byte {
		dst = append(dst, `{"id":"`+m.ID.String()+`","name":`...)
		dst, _ = jsontext.AppendQuote(dst, m.Name) // its error only reports replaced invalid UTF-8
		return append(dst, '}')
	})
}
