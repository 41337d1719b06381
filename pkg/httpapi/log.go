package httpapi

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

func (a *API) history(w http.ResponseWriter, r *http.Request) error {
	id, err := a.userID(r)
	if err != nil {
		return err
	}
	if values, file, err := a.logFile(r); file || err != nil {
		if err == nil {
			_, _, err = placeIn(values, "cursor")
		}
		if err != nil {
			return err
		}
		return a.exportPages(w, r, "history", id, values, func(e *export, cursor string) (string, bool, error) {
			page, err := a.options.Admin.History(r.Context(), id, cursor, user.MaxLimit)
			if err != nil {
				return "", false, err
			}
			return page.Next, page.Next != "", lines(e, page.Entries, appendUserHistory)
		})
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
	return writePage(w, r, "history", place.limit, page.Next, page.Entries, appendUserHistory)
}

// logFile reports whether a request asks for a log as a file, and returns its parameters.
func (a *API) logFile(r *http.Request) (values url.Values, file bool, err error) {
	if values, err = queryValues(r); err != nil {
		return nil, false, err
	}
	mediaType, err := fileType(r, values, ndjsonType)
	return values, mediaType != "", err
}

func appendUserHistory(dst []byte, e *user.LogEntry) []byte { return appendHistory(dst, &e.Event) }

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
	stream := a.options.Cursor != nil && Negotiate(r, "application/json", "text/event-stream", ndjsonType) == "text/event-stream"
	if values, file, err := a.logFile(r); !stream && (file || err != nil) {
		if err != nil {
			return err
		}
		return a.exportChanges(w, r, values)
	}
	_, place, err := placeParameters(r, "after")
	if err != nil {
		return err
	}
	if stream {
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

// exportChanges answers the changes after a cursor up to now.
func (a *API) exportChanges(w http.ResponseWriter, r *http.Request, values url.Values) error {
	_, begin, err := placeIn(values, "after")
	if err != nil {
		return err
	}
	return a.exportPages(w, r, "changes", uuid.Nil, values, func(e *export, cursor string) (string, bool, error) {
		page, err := a.options.Admin.Changes(r.Context(), cmp.Or(cursor, begin.cursor), user.MaxLimit)
		if err != nil {
			return "", false, err
		}
		return page.Next, page.More, lines(e, page.Entries, func(dst []byte, entry *user.LogEntry) []byte {
			return a.options.AppendEvent(dst, entry.Event)
		})
	})
}

type place struct {
	cursor string
	limit  int
}

// placeParameters reads the parameters of a list that has a place and a limit only.
func placeParameters(r *http.Request, cursor string) (url.Values, place, error) {
	values, err := queryValues(r)
	if err != nil {
		return nil, place{}, err
	}
	return placeIn(values, cursor)
}

func placeIn(values url.Values, cursor string) (url.Values, place, error) {
	found := place{limit: user.DefaultLimit}
	var problems user.Problems
	for _, name := range slices.Sorted(maps.Keys(values)) { // problems come in a stable order
		switch given := values[name]; {
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
			found.limit = user.ParseLimit(&problems, given[0])
		}
	}
	return values, found, problems.Err()
}
