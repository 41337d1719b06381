package httpapi

import (
	"context"
	"encoding/csv"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// The media types of files.
const (
	ndjsonType = "application/x-ndjson"
	csvType    = "text/csv"
)

const (
	exportsAtOnce  = 2
	exportPatience = 10 * time.Second // for one of these places
	exportChunk    = 64 << 10         // bytes that are written at once
)

var errExporting = user.Errorf(user.Unavailable, "two exports are running: try again when one of them has ended")

// enterExport waits for one of the places that exports have: each of users holds a database connection and
// a snapshot for as long as its client takes to read it.
func (a *API) enterExport(ctx context.Context) (leave func(), err error) {
	timer := time.NewTimer(exportPatience)
	defer timer.Stop()
	select {
	case a.exports <- struct{}{}:
		return func() { <-a.exports }, nil
	case <-timer.C:
		return nil, errExporting
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// queryAndFile returns the parameters of a request for a list, and the media type of the file that it may ask for
// instead, see fileType.
func queryAndFile(w http.ResponseWriter, r *http.Request, types ...string) (values url.Values, file string, err error) {
	if values, err = queryValues(r); err == nil {
		file, err = fileType(w, r, values, types...)
	}
	return values, file, err
}

// fileType returns the media type of the file that a request asks for, by its parameter format or by Accept;
// "" is a page of JSON. What a file cannot have is refused.
func fileType(w http.ResponseWriter, r *http.Request, values url.Values, types ...string) (string, error) {
	formats := map[string]string{"ndjson": ndjsonType, "csv": csvType}
	wanted := answerType(w, r, append([]string{"application/json"}, types...)...)
	var problems user.Problems
	if given, ok := values["format"]; ok {
		wanted = formats[given[0]]
		if len(given) > 1 || !slices.Contains(types, wanted) {
			problems.Add("format", "validation_format", "must be ndjson%s, once", map[bool]string{true: " or csv"}[len(types) > 1])
		}
		values.Del("format")
	}
	if !slices.Contains(types, wanted) {
		return "", problems.Err()
	}
	for _, name := range []string{"limit", "cursor", "page"} {
		if values.Has(name) {
			problems.Add(name, "validation_unknown_parameter", "is not a parameter of an export, which is whole")
		}
	}
	return wanted, problems.Err()
}

// export is a file on its way to a client.
type export struct {
	w      http.ResponseWriter
	r      *http.Request
	buffer []byte
	count  int64
	begun  bool // some of it was sent
}

// beginExport records an export in the audit log and waits for its place. Nothing leaves unrecorded.
func (a *API) beginExport(w http.ResponseWriter, r *http.Request, what string, of uuid.UUID, mediaType string, values url.Values) (*export, func(), error) {
	leave, err := a.enterExport(r.Context())
	if err != nil {
		return nil, nil, err
	}
	entry := request.AuditEntry(r, user.UsersExported)
	entry.UserID = of
	entry.Detail = detailOf("what", what, "format", mediaType, "filters", filterNames(values)) // whose values may be personal
	if err := a.options.Admin.Audit(r.Context(), entry); err != nil {
		leave()
		return nil, nil, err
	}
	describeFile(w, mediaType)
	return &export{w: w, r: r}, leave, nil
}

// describeFile says what a file is, also to HEAD.
func describeFile(w http.ResponseWriter, mediaType string) {
	w.Header().Set("Content-Type", mediaType)
	if mediaType == csvType {
		w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present") // RFC 4180, section 3
		w.Header().Set("Trailer", totalTrailer)
	}
}

const totalTrailer = "X-Total-Users"

func filterNames(values url.Values) string {
	names := slices.Sorted(maps.Keys(values))
	for i, name := range names {
		if strings.HasPrefix(name, "metadata.") {
			names[i] = "metadata.*"
		}
	}
	return strings.Join(names, ",")
}

// Write implements [io.Writer] on what is to be sent.
func (e *export) Write(p []byte) (int, error) {
	e.buffer = append(e.buffer, p...)
	return len(p), nil
}

// line ends what was appended last, and sends what is enough to send.
func (e *export) line() error {
	e.count++
	if len(e.buffer) < exportChunk {
		return e.r.Context().Err()
	}
	return e.send()
}

func (e *export) send() error {
	wait := request.Of(e.r.Context()).AnswerTime + time.Duration(len(e.buffer))*time.Second/answerRate
	_ = http.NewResponseController(e.w).SetWriteDeadline(time.Now().Add(wait)) // test writers have none
	e.begun = true
	_, err := e.w.Write(e.buffer)
	e.buffer = e.buffer[:0]
	return err
}

// end finishes the export. One that failed is torn, so that nobody takes what there is for the whole.
func (e *export) end(err error) error {
	if err == nil {
		err = e.send()
	}
	if err == nil {
		return nil
	}
	if !e.begun {
		e.w.Header().Del("Trailer")
		return err
	}
	request.Of(e.r.Context()).Failure = err
	if !e.r.ProtoAtLeast(1, 1) { // its end would look like the file's
		reset(e.w)
	}
	panic(http.ErrAbortHandler)
}

// reset ends a connection so that the client sees a fault.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// exportUsers answers all users that the filters find, as one file.
func (a *API) exportUsers(w http.ResponseWriter, r *http.Request, values url.Values, mediaType string) error {
	columns, err := exportColumns(values, mediaType)
	if err != nil {
		return err
	}
	query, err := user.ParseQuery(values)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		describeFile(w, mediaType)
		return nil
	}
	e, leave, err := a.beginExport(w, r, "users", uuid.Nil, mediaType, values)
	if err != nil {
		return err
	}
	defer leave()
	if mediaType == ndjsonType {
		cursor, err := a.options.Admin.Export(r.Context(), query, func(u *user.User) error {
			e.buffer = append(u.AppendJSON(e.buffer), '\n')
			return e.line()
		})
		e.buffer = appendEnd(e.buffer, "users", e.count, cursor)
		return e.end(err)
	}
	write := e.csv()
	write(columns.Names())
	var record []string
	_, err = a.options.Admin.Export(r.Context(), query, func(u *user.User) error {
		record = columns.Record(record, u)
		write(record)
		return e.line()
	})
	if err := e.end(err); err != nil {
		return err
	}
	w.Header().Set(totalTrailer, strconv.FormatInt(e.count, 10))
	return nil
}

func exportColumns(values url.Values, mediaType string) (user.Columns, error) {
	given, ok := values["metadata"]
	values.Del("metadata")
	switch {
	case ok && mediaType != csvType:
		return user.Columns{}, user.Problems{{Field: "metadata", Code: "validation_unknown_parameter", Message: "is a parameter of exports as CSV alone"}}.Err()
	case ok:
		return user.ExportColumns(strings.Split(strings.Join(given, ","), ",")...)
	default:
		return user.ExportColumns()
	}
}

// csv returns what writes a record as RFC 4180 has it. The encoder would end records with a line feed alone
// or, asked for more, change the line breaks within cells.
func (e *export) csv() func(record []string) {
	encoder := csv.NewWriter(e)
	return func(record []string) {
		_ = encoder.Write(record) // into memory
		encoder.Flush()
		e.buffer = append(e.buffer[:len(e.buffer)-1], "\r\n"...)
	}
}

// appendEnd appends the line that says that a file is whole.
func appendEnd(dst []byte, what string, count int64, cursor string) []byte {
	dst = strconv.AppendInt(append(append(append(dst, `{"end":{"`...), what...), `":`...), count, 10)
	if cursor == "" {
		return append(dst, ",\"cursor\":null}}\n"...)
	}
	return append(append(append(dst, `,"cursor":"`...), cursor...), "\"}}\n"...) // base64url needs no escape
}

// exportPages answers all pages of a log, of one user or with [uuid.Nil] of all, as one file. Each page is read by itself: logs only grow, so that
// together they are one state of it. read appends a page's lines and returns the next page's cursor, and
// whether there is one; the last cursor ends the file.
func (a *API) exportPages(w http.ResponseWriter, r *http.Request, what string, of uuid.UUID, values url.Values,
	read func(e *export, cursor string) (next string, more bool, err error),
) error {
	if r.Method == http.MethodHead {
		describeFile(w, ndjsonType)
		return nil
	}
	e, leave, err := a.beginExport(w, r, what, of, ndjsonType, values)
	if err != nil {
		return err
	}
	defer leave()
	cursor, more := "", true
	for err == nil && more {
		cursor, more, err = read(e, cursor)
	}
	e.buffer = appendEnd(e.buffer, "count", e.count, cursor)
	return e.end(err)
}

// lines appends entries, a line each.
func lines[E any](e *export, entries []E, encode func([]byte, *E) []byte) error {
	for i := range entries {
		e.buffer = append(encode(e.buffer, &entries[i]), '\n')
		if err := e.line(); err != nil {
			return err
		}
	}
	return nil
}
