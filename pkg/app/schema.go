package app

import (
	"net/http"

	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/user"
)

// schema serves the JSON Schemas that events name in dataschema.
func (a *App) schema(w http.ResponseWriter, r *http.Request) {
	text, ok := cloudevent.Schema(r.PathValue("name"))
	if !ok {
		a.api.Problem(w, r, user.Errorf(user.NotFound, "no such schema"))
		return
	}
	w.Header().Set("Content-Type", cloudevent.SchemaType)
	_, _ = w.Write(text) // the client is gone when this fails
}
