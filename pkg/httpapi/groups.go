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
	values, place, err := placeParameters(r, "cursor")
	if err != nil {
		return err
	}
	groups, next, err := a.options.Admin.Groups(r.Context(), place.cursor, place.limit)
	if err != nil {
		return err
	}
	if next != "" {
		linkNext(w, r, values, "cursor", next)
	}
	out := []byte(`{"groups":[`)
	for i, g := range groups {
		if i > 0 {
			out = append(out, ',')
		}
		out = g.AppendJSON(out)
	}
	out = appendPage(append(out, `],"page":`...), place.limit, next, nil, false)
	return writeJSON(w, r, http.StatusOK, append(out, '}'))
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
	values, place, err := placeParameters(r, "cursor")
	if err != nil {
		return err
	}
	members, next, err := a.options.Admin.Members(r.Context(), id, place.cursor, place.limit)
	if err != nil {
		return err
	}
	if next != "" {
		linkNext(w, r, values, "cursor", next)
	}
	out := []byte(`{"members":[`)
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"id":"`+m.ID.String()+`","name":`...)
		out, _ = jsontext.AppendQuote(out, m.Name) // its error only reports replaced invalid UTF-8
		out = append(out, '}')
	}
	out = appendPage(append(out, `],"page":`...), place.limit, next, nil, false)
	return writeJSON(w, r, http.StatusOK, append(out, '}'))
}
