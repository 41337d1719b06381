package httpapi

import (
	"cmp"
	"net/http"
	"net/url"
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
	values, file, err := queryAndFile(w, r, ndjsonType)
	if err != nil {
		return err
	}
	query, err := user.ParsePageQuery(values)
	if err != nil {
		return err
	}
	if file != "" {
		query.Limit = 1 // to know that there is one, before it is recorded as an export
	}
	page, err := a.options.Admin.History(r.Context(), id, query.Cursor, query.Limit)
	if err != nil {
		return err
	}
	if file != "" {
		return a.exportPages(w, r, "history", id, values, func(e *export, cursor string) (string, bool, error) {
			page, err := a.options.Admin.History(r.Context(), id, cursor, user.MaxLimit)
			if err != nil {
				return "", false, err
			}
			return page.Next, page.Next != "", lines(e, page.Entries, appendHistory)
		})
	}
	return writePage(w, r, values, listed{name: "history", limit: query.Limit, next: page.Next}, page.Entries, appendHistory)
}

func appendHistory(dst []byte, e *user.LogEntry) []byte {
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
	values, err := queryValues(r)
	if err != nil {
		return err
	}
	stream := a.options.Cursor != nil && !values.Has("format") && answerType(w, r, "application/json", "text/event-stream", ndjsonType) == "text/event-stream"
	file := ""
	if !stream {
		if file, err = fileType(w, r, values, ndjsonType); err != nil {
			return err
		}
	}
	query, err := user.ParseFeedQuery(values)
	switch {
	case err != nil:
		return err
	case stream:
		return a.serveStream(w, r, query.Cursor)
	case file != "":
		return a.exportChanges(w, r, values, query.Cursor)
	}
	leave, err := a.options.Gate.Enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	page, err := a.options.Admin.Changes(r.Context(), query.Cursor, query.Limit)
	if err != nil {
		return err
	}
	buffer := takeBuffer()
	defer giveBuffer(buffer)
	out := appendList(append(*buffer, `{"changes":[`...), page.Entries, a.appendChange)
	*buffer = append(out, `,"next":"`+page.Next+`"}`...)
	return writeJSON(w, r, http.StatusOK, *buffer)
}

// exportChanges answers the changes after a cursor up to now.
func (a *API) exportChanges(w http.ResponseWriter, r *http.Request, values url.Values, after string) error {
	if _, err := a.options.Admin.Changes(r.Context(), after, 1); err != nil { // before it is recorded as an export
		return err
	}
	return a.exportPages(w, r, "changes", uuid.Nil, values, func(e *export, cursor string) (string, bool, error) {
		page, err := a.options.Admin.Changes(r.Context(), cmp.Or(cursor, after), user.MaxLimit)
		if err != nil {
			return "", false, err
		}
		return page.Next, page.More, lines(e, page.Entries, a.appendChange)
	})
}

func (a *API) appendChange(dst []byte, e *user.LogEntry) []byte {
	return a.options.AppendEvent(dst, e.Event)
}
