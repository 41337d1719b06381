package console

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// answer records the answer of one of the API's routes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// call asks one of the API's routes, see [Console.send].
func (c *Console) call(r *http.Request, s *session, method, path string, body []byte, into any) error {
	var from io.Reader
	if body != nil {
		from = bytes.NewReader(body)
	}
	return c.send(ask(r, s, method, path, nil, from), into)
}

// send sends a request to the API's routes and decodes the answer into a value, unless that is nil. A problem
// document is returned as an error.
func (c *Console) send(request *http.Request, into any) error {
	got := &answer{header: http.Header{}}
	c.options.Routes.ServeHTTP(got, request)
	if got.status >= http.StatusBadRequest {
		return problemOf(got.body.Bytes())
	}
	if into == nil || got.body.Len() == 0 {
		return nil
	}
	return json.Unmarshal(got.body.Bytes(), into)
}

// problemOf reads a problem document.
func problemOf(body []byte) error {
	var problem struct {
		Detail    string        `json:"detail"`
		ErrorCode user.Kind     `json:"errorCode"`
		Details   user.Problems `json:"details"`
	}
	if err := json.Unmarshal(body, &problem); err != nil || problem.ErrorCode == "" {
		return user.Errorf(user.Internal, "an internal error: the log has it under the request's id").Wrap(err)
	}
	return &user.Error{Kind: problem.ErrorCode, Message: problem.Detail, Problems: problem.Details}
}

// apply carries out a change of the user that a page is about.
func (c *Console) apply(r *http.Request, ref user.Ref, change user.Change, version int64) (user.Outcome, error) {
	return c.options.Admin.Apply(r.Context(), c.command(r, ref, change, version))
}

// command makes the command for a change; version, unless 0, is the one that the page showed.
func (c *Console) command(r *http.Request, ref user.Ref, change user.Change, version int64) user.Command {
	command := user.Command{Change: change, User: ref, Origin: request.Origin(r)}
	if version > 0 {
		command.IfMatch = &user.Precondition{Versions: []int64{version}}
	}
	return command
}
