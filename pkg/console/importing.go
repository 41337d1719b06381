package console

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"aiadmin/pkg/body"
	"aiadmin/pkg/user"
)

const (
	importPath  = "/ai/admin/users/import"
	maxKept     = 512 << 10 // bytes of a file that the page carries: a form takes several times as many
	maxProblems = 500       // lines that failed, shown on a page
)

type importPage struct {
	page
	Mode, Match, Name string
	DryRun            bool
	Result            *importResult
	Kept              string // the file itself, when it is small: in base64, since a browser changes line breaks
	Lines             string // of it that failed
	Fault             *user.Error
}

// importResult is the API's answer about a file.
type importResult struct {
	Summary summary
	Failed  []failedLine
	More    int   // failed lines that are not shown
	Lines   []int // the numbers of all, as far as a file has that can be kept
	Fault   string
}

type summary struct {
	Created   int64 `json:"created"`
	Updated   int64 `json:"updated"`
	Unchanged int64 `json:"unchanged"`
	Deleted   int64 `json:"deleted"`
	Failed    int64 `json:"failed"`

	// Of an import that stopped early.
	DoneThrough int             `json:"doneThrough"`
	Problem     json.RawMessage `json:"problem"`
}

type failedLine struct {
	Line int
	Text string
}

func (c *Console) importPage(r *http.Request, s *session) importPage {
	return importPage{page: c.page(r, s, "import.title", "import")}
}

func (c *Console) serveImport(w http.ResponseWriter, r *http.Request, s *session) error {
	p := c.importPage(r, s)
	p.Mode, p.Match = "create", "tag"
	return c.render(w, r, http.StatusOK, "import", p)
}

// importUsers checks or applies a file, and shows the results of its lines.
func (c *Console) importUsers(w http.ResponseWriter, r *http.Request, s *session) error {
	p := c.importPage(r, s)
	file, err := p.read(r)
	if err != nil {
		return err
	}
	kept := &keeper{from: file}
	got := &importAnswer{ResponseWriter: w, header: http.Header{}, result: &importResult{}}
	c.options.Routes.ServeHTTP(got, p.request(r, s, kept))
	if connection := got.header.Get("Connection"); connection != "" {
		w.Header().Set("Connection", connection) // a part of the form may be unread
	}
	status := http.StatusOK
	if got.status >= http.StatusBadRequest {
		p.Fault, status = user.Public(problemOf(got.rest)), got.status
		return c.render(w, r, status, "import", p)
	}
	p.Result = got.end()
	if kept.text.Len() <= maxKept {
		p.Kept = base64.RawURLEncoding.EncodeToString(kept.text.Bytes())
	}
	p.Lines = lineRanges(p.Result.Lines)
	return c.render(w, r, status, "import", p)
}

// read finds the file in the form. The other fields must come before the file, which is streamed and
// never stored.
func (p *importPage) read(r *http.Request) (io.Reader, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		p.Mode, p.Match, p.Name = r.PostFormValue("mode"), r.PostFormValue("match"), r.PostFormValue("name")
		p.DryRun = r.PostFormValue("dryRun") != ""
		content, err := keptFile(r)
		return strings.NewReader(content), err
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, user.Errorf(user.Malformed, "the form cannot be read: choose a file and send it again").Wrap(err)
		}
		if part.FormName() == "file" {
			if p.Mode == "" || p.Match == "" {
				return nil, user.Errorf(user.Malformed, "the form cannot be read: mode, match and dryRun must come before the file")
			}
			p.Name = path.Base(part.FileName())
			return part, nil
		}
		if err := p.set(part); err != nil {
			return nil, err
		}
	}
}

// keptFile returns the file that a page carried.
func keptFile(r *http.Request) (string, error) {
	content, err := base64.RawURLEncoding.DecodeString(r.PostFormValue("content"))
	if err != nil {
		return "", user.Errorf(user.Malformed, "the form cannot be read: choose the file again").Wrap(err)
	}
	return string(content), nil
}

func (p *importPage) set(part *multipart.Part) error {
	text, err := io.ReadAll(io.LimitReader(part, 100))
	if err != nil {
		return user.Errorf(user.Malformed, "the form cannot be read: send it again").Wrap(err)
	}
	switch part.FormName() {
	case "mode":
		p.Mode = string(text)
	case "match":
		p.Match = string(text)
	case "dryRun":
		p.DryRun = len(text) > 0
	}
	return nil
}

func (p *importPage) request(r *http.Request, s *session, file *keeper) *http.Request {
	query := url.Values{"mode": {p.Mode}, "match": {p.Match}, "results": {"failed"}}
	if p.DryRun {
		query.Set("dryRun", "true")
	}
	request := ask(r, s, http.MethodPost, importPath, query, file)
	request.Header.Set("Content-Type", kindOf(p.Name, file))
	return request
}

// kindOf returns a file's media type, by its name or, failing that, by how it begins.
func kindOf(name string, file *keeper) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv":
		return "text/csv"
	case ".ndjson", ".jsonl", ".json":
		return "application/x-ndjson"
	}
	if strings.HasPrefix(strings.TrimSpace(file.begin()), "{") {
		return "application/x-ndjson"
	}
	return "text/csv"
}

// keeper keeps the beginning of what is read through it, which is all of a small file.
type keeper struct {
	from  io.Reader
	ahead bytes.Buffer // read to look at it
	text  bytes.Buffer
}

func (k *keeper) begin() string {
	_, _ = io.CopyN(&k.ahead, k.from, 64)
	return k.ahead.String()
}

// Read implements [io.Reader].
func (k *keeper) Read(b []byte) (n int, err error) {
	if k.ahead.Len() > 0 {
		n, err = k.ahead.Read(b)
	} else {
		n, err = k.from.Read(b)
	}
	if k.text.Len() <= maxKept {
		k.text.Write(b[:n])
	}
	return n, err
}

// importAnswer reads the API's answer, line by line, as it is written.
type importAnswer struct {
	http.ResponseWriter // for deadlines
	header              http.Header
	status              int
	rest                []byte
	result              *importResult
	whole               bool
}

// Unwrap lets [http.ResponseController] reach the connection.
func (a *importAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Header implements [http.ResponseWriter].
func (a *importAnswer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *importAnswer) WriteHeader(status int) { a.status = status }

// FlushError implements what [http.ResponseController] asks for.
func (a *importAnswer) FlushError() error { return nil }

// Write implements [http.ResponseWriter].
func (a *importAnswer) Write(b []byte) (int, error) {
	a.rest = append(a.rest, b...)
	if a.status >= http.StatusBadRequest {
		return len(b), nil
	}
	for {
		end := bytes.IndexByte(a.rest, '\n')
		if end < 0 {
			return len(b), nil
		}
		a.line(a.rest[:end])
		a.rest = a.rest[end+1:]
	}
}

func (a *importAnswer) line(answered []byte) {
	var said struct {
		Line    int             `json:"line"`
		Status  int             `json:"status"`
		Problem json.RawMessage `json:"problem"`
		Summary *summary        `json:"summary"`
	}
	if json.Unmarshal(answered, &said) != nil {
		return
	}
	if said.Status >= http.StatusBadRequest && len(a.result.Lines) < maxKept {
		a.result.Lines = append(a.result.Lines, said.Line)
	}
	switch {
	case said.Summary != nil:
		a.result.Summary, a.whole = *said.Summary, true
		if len(said.Summary.Problem) > 0 {
			a.result.Fault = text("import.stopped", said.Summary.DoneThrough, problemText(said.Summary.Problem))
		}
	case said.Status >= http.StatusBadRequest && len(a.result.Failed) >= maxProblems:
		a.result.More++
	case said.Status >= http.StatusBadRequest:
		a.result.Failed = append(a.result.Failed, failedLine{said.Line, problemText(said.Problem)})
	}
}

func (a *importAnswer) end() *importResult {
	if len(a.rest) > 0 {
		a.line(a.rest)
	}
	if !a.whole {
		a.result.Fault = text("import.torn")
	}
	return a.result
}

// problemText returns a problem as one line.
func problemText(problem []byte) string {
	known, ok := errors.AsType[*user.Error](problemOf(problem))
	if !ok {
		return ""
	}
	parts := make([]string, len(known.Problems))
	for i, one := range known.Problems {
		parts[i] = one.Field + " " + one.Message
	}
	if len(parts) == 0 {
		return known.Message
	}
	return strings.Join(parts, "; ")
}

// streamImport streams a file to the API, and the answer to the page.
func (c *Console) streamImport(w http.ResponseWriter, r *http.Request, s *session) error {
	request := ask(r, s, http.MethodPost, importPath, only(r.URL.Query(), "mode", "match", "dryRun", "results"), r.Body)
	request.ContentLength = r.ContentLength
	for _, name := range []string{"Content-Type", "Idempotency-Key"} {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	c.options.Routes.ServeHTTP(w, request)
	return nil
}

// failedLines returns the lines of a file that failed, as a file that can be corrected and sent again.
func (c *Console) failedLines(w http.ResponseWriter, r *http.Request, _ *session) error {
	name := r.PostFormValue("name")
	content, err := keptFile(r)
	if err != nil {
		return err
	}
	wanted := linesOf(r.PostFormValue("lines"), len(content)+1)
	kind, file, isCSV := "application/x-ndjson", "failed.ndjson", kindOf(name, &keeper{from: strings.NewReader(content)}) == "text/csv"
	if isCSV {
		kind, file = "text/csv; charset=utf-8", "failed.csv"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+file+`"`)
	_, _ = w.Write([]byte(pickRecords(content, isCSV, wanted))) // the client is gone when this fails
	return nil
}

// lineRanges writes numbers as ranges, such as 3.7-9: a form takes them as they are.
func lineRanges(lines []int) string {
	slices.Sort(lines)
	var out strings.Builder
	for i := 0; i < len(lines); {
		first := i
		for i++; i < len(lines) && lines[i] == lines[i-1]+1; i++ {
		}
		if first > 0 {
			out.WriteByte('.')
		}
		out.WriteString(strconv.Itoa(lines[first]))
		if i-first > 1 {
			out.WriteString("-" + strconv.Itoa(lines[i-1]))
		}
	}
	return out.String()
}

// linesOf reads what lineRanges wrote; no line is past the last.
func linesOf(ranges string, last int) map[int]bool {
	lines, least := map[int]bool{}, 1
	for part := range strings.SplitSeq(ranges, ".") {
		from, to, several := strings.Cut(part, "-")
		if !several {
			to = from
		}
		first, err := strconv.Atoi(from)
		end, endErr := strconv.Atoi(to)
		if err != nil || endErr != nil {
			continue
		}
		for least = max(least, first); least <= min(end, last); least++ {
			lines[least] = true
		}
	}
	return lines
}

// pickRecords keeps the records that begin on a line that is wanted, and the header of CSV.
func pickRecords(content string, isCSV bool, wanted map[int]bool) string {
	var out strings.Builder
	end, header := "\n", isCSV
	if isCSV {
		end = "\r\n"
	}
	for line, record := range body.Records(strings.NewReader(content), isCSV) {
		if header || wanted[line] {
			out.Write(record)
			out.WriteString(end)
		}
		header = false
	}
	return out.String()
}
