package httpapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

func (a *API) history(w http.ResponseWriter, r *http.Request) error {
	id, err := a.userID(r)
	if err != nil {
		return err
	}
	values, place, err := placeParameters(r, "cursor")
	if err != nil {
		return err
	}
	page, err := a.options.Admin.History(r.Context(), id, place.cursor, place.limit)
	if err != nil {
		return err
	}
	if page.Next != "" {
		linkNext(w, r, values, "cursor", page.Next)
	}
	return writePage(w, r, "history", place.limit, page.Next, page.Entries,
		func(dst []byte, e *user.LogEntry) []byte { return appendHistory(dst, &e.Event) })
}

func appendHistory(dst []byte, e *user.Event) []byte {
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendInt(dst, e.Version, 10)
	dst = append(dst, `,"type":"`+string(e.Type)+`","at":"`+user.FormatTime(e.At)+`","actor":`...)
	dst, _ = jsontext.AppendQuote(dst, e.Actor) // its error only reports replaced invalid UTF-8
	dst = append(dst, `,"causationId":`...)
	dst, _ = jsontext.AppendQuote(dst, e.Cause)
	dst = append(dst, `,"changed":`...)
	return append(append(dst, e.Changes...), '}')
}

func (a *API) changes(w http.ResponseWriter, r *http.Request) error {
	_, place, err := placeParameters(r, "after")
	if err != nil {
		return err
	}
	if a.options.Cursor != nil && Negotiate(r, "application/json", "text/event-stream") == "text/event-stream" {
		return a.serveStream(w, r, place.cursor)
	}
	leave, err := a.options.Gate.Enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	page, err := a.options.Admin.Changes(r.Context(), place.cursor, place.limit)
	if err != nil {
		return err
	}
	buffer := takeBuffer()
	defer giveBuffer(buffer)
	out := append(*buffer, `{"changes":[`...)
	for i, e := range page.Entries {
		if i > 0 {
			out = append(out, ',')
		}
		out = a.options.AppendEvent(out, e.Event)
	}
	*buffer = append(out, `],"next":"`+page.Next+`"}`...)
	return writeJSON(w, r, http.StatusOK, *buffer)
}

type place struct {
	cursor string
	limit  int
}

// placeParameters reads the parameters of a list that has a place and a limit only.
func placeParameters(r *http.Request, cursor string) (url.Values, place, error) {
	found := place{limit: user.DefaultLimit}
	values, err := queryValues(r)
	if err != nil {
		return nil, found, err
	}
	var problems user.Problems
	for name, given := range values {
		switch {
		case name != cursor && name != "limit":
			problems.Add(name, "validation_unknown_parameter", "is not a parameter of this list")
		case len(given) > 1:
			problems.Add(name, "validation_repeated_parameter", "can be given once")
		case name == cursor:
			found.cursor = given[0]
			if given[0] == "" && cursor == "cursor" { // an empty "after" is the beginning
				problems.Add(name, "validation_cursor", "must not be empty: leave it out for the first page")
			}
		default:
			n, err := strconv.Atoi(given[0])
			if err != nil || n < 1 || n > user.MaxLimit {
				problems.Add(name, "validation_out_of_range", "must be an integer from 1 to %d", user.MaxLimit)
			}
			found.limit = n
		}
	}
	return values, found, problems.Err()
}
