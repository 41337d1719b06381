package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/schollz/progressbar/v3"

	"aiadmin/pkg/user"
)

// mediaTypes are those of the formats of files.
var mediaTypes = map[string]string{"ndjson": "application/x-ndjson", "csv": "text/csv"}

// formatOf returns the format that a file's name ends with, if any.
func formatOf(name string) string {
	format := strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))
	if mediaTypes[format] == "" {
		return ""
	}
	return format
}

// bar shows progress on a terminal, in bytes or as a count.
func bar(s streams, total int64, what string, bytes bool) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(s.err), progressbar.OptionSetVisibility(isTerminal(s.err)),
		progressbar.OptionShowBytes(bytes), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
}

// exporting is the part of a command that writes what conditions find into a file.
type exporting struct {
	filter
	Out string `placeholder:"FILE" help:"Where to write; default: standard output. The file appears once it is complete."`
}

// export writes the file and prints how many users or entries it holds.
func (c *exporting) export(ctx context.Context, s *service, path, format, one, many string) error {
	values, err := c.values()
	if err != nil {
		return err
	}
	n, err := s.download(ctx, path+"?"+values.Encode(), format, c.Out)
	if err != nil {
		return err
	}
	what := many
	if n == 1 {
		what = one
	}
	fmt.Fprintf(s.streams.err, "%d %s\n", n, what)
	return nil
}

type usersExportCmd struct {
	exporting `set:"outputs=ndjson (default) or csv"`

	Format   string `enum:"ndjson,csv," default:"" placeholder:"ndjson|csv" help:"Default: by the file's name, else -o, else ndjson."`
	Metadata string `placeholder:"NAMES" help:"In CSV, a column for each of these members of metadata: team,costCenter."`
}

// Run exports users.
func (c *usersExportCmd) Run(ctx context.Context, s *service) error {
	switch c.Output {
	case "json":
		return usage("--output=json: an export is ndjson or csv")
	case "table": // the default
		c.Output = "ndjson"
	}
	if c.Metadata != "" {
		c.Where = append(c.Where, "metadata="+c.Metadata)
	}
	return c.export(ctx, s, "/ai/admin/users", cmp.Or(c.Format, formatOf(c.Out), c.Output), "user", "users")
}

// download writes a file that the service makes and returns the count that its end names. Without that end, the
// file is incomplete.
func (s *service) download(ctx context.Context, path, format, name string) (entries int64, err error) {
	answer, err := s.send(ctx, http.MethodGet, path, nil, "Accept", mediaTypes[format])
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	write := func(out io.Writer) error {
		progress := bar(s.streams, -1, "export", true)
		tail := &lastLine{}
		_, err := io.Copy(io.MultiWriter(out, progress, tail), answer.Body)
		_ = progress.Finish()
		if err == nil {
			entries, err = endOf(answer, format, tail)
		}
		if err != nil {
			return torn("the export broke off: %w", err)
		}
		return nil
	}
	if name == "" || name == "-" {
		err = write(s.streams.out)
	} else {
		err = writeFile(name, write)
	}
	return entries, err
}

// writeFile creates or replaces a file once its content is complete. A file keeps its mode, and a link its target.
// A device or a pipe is written to directly: a rename would put a plain file in its place.
func writeFile(name string, write func(io.Writer) error) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(name); err == nil {
		mode = info.Mode()
	}
	if mode.IsDir() {
		return fmt.Errorf("%s: is a folder", name)
	}
	if !mode.IsRegular() { // by the name given: what links such as /dev/fd/63 say cannot be opened
		device, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(device), device.Close())
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	} else if target, err := os.Readlink(name); err == nil { // to a file that is not there yet
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(name), target)
		}
		name = target
	}
	part, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".part-*")
	if err != nil {
		return err
	}
	if err = errors.Join(write(part), part.Chmod(mode.Perm()), part.Sync(), part.Close()); err == nil {
		err = os.Rename(part.Name(), name)
	}
	if err != nil {
		_ = os.Remove(part.Name())
	}
	return err
}

// lastLine keeps the last line of what is written to it.
type lastLine struct{ line []byte }

// Write implements [io.Writer].
func (l *lastLine) Write(p []byte) (int, error) {
	if whole := bytes.TrimSuffix(p, []byte{'\n'}); bytes.IndexByte(whole, '\n') >= 0 {
		l.line = append(l.line[:0], p[bytes.LastIndexByte(whole, '\n')+1:]...)
		return len(p), nil
	}
	if bytes.HasSuffix(l.line, []byte{'\n'}) {
		l.line = l.line[:0]
	}
	l.line = append(l.line, p...)
	return len(p), nil
}

var (
	errNoEnd     = errors.New("its end is missing")
	errNoTrailer = errors.New("its end is missing: it was cut, or a proxy drops trailers, which CSV ends with and ndjson does not")
)

// endOf returns the count that the end of a complete file names.
func endOf(answer *http.Response, format string, tail *lastLine) (int64, error) {
	if format == "csv" {
		n, err := strconv.ParseInt(answer.Trailer.Get("X-Total-Users"), 10, 64)
		if err != nil {
			return 0, errNoTrailer
		}
		return n, nil
	}
	var last struct {
		End map[string]jsontext.Value `json:"end"`
	}
	if err := json.Unmarshal(tail.line, &last); err != nil || last.End == nil {
		return 0, errNoEnd
	}
	return strconv.ParseInt(string(cmp.Or(string(last.End["users"]), string(last.End["count"]))), 10, 64)
}

type importCmd struct {
	connection
	File   string `arg:"" placeholder:"FILE|-" help:"The file, or - for standard input."`
	Format string `enum:"ndjson,csv," default:"" placeholder:"ndjson|csv" help:"Default: ndjson where the first line is an object, else csv."`
	Mode   string `enum:"create,update,upsert,delete" default:"create" help:"What each line does: ${enum}."`
	Match  string `enum:"tag,id,externalId,email,userName" default:"tag" help:"The field that names the user: ${enum}."`
	DryRun bool   `help:"Judge every line, and change nothing."`
	Key    string `placeholder:"KEY" help:"Idempotency-Key: sent again with it, a file continues where it broke off. Default: a new one."`
}

// Help is the text that users import --help ends with.
func (importCmd) Help() string {
	return `Lines that failed are shown; with -o ndjson all results are, as the service answers them.

Example:

    ai-admin users import people.csv --mode upsert --match email --dry-run
    ai-admin users import people.csv --mode upsert --match email
    ai-admin users export | ai-admin users import - --profile test`
}

// Run imports a file.
func (c *importCmd) Run(ctx context.Context, s *service) error {
	if c.Output == "json" || c.Output == "csv" {
		return usage("--output=%s: the results of an import are shown as table or ndjson", c.Output)
	}
	file, size, err := c.open(ctx)
	if err != nil {
		return usage("%w", err)
	}
	defer func() { _ = file.Close() }()
	key := cmp.Or(c.Key, user.NewID().String())
	query := url.Values{"mode": {c.Mode}, "match": {c.Match}, "dryRun": {strconv.FormatBool(c.DryRun)}}
	if c.Output == "table" {
		query.Set("results", "failed")
	}
	body := bufio.NewReader(file)
	answer, err := s.send(ctx, http.MethodPost, "/ai/admin/users/import?"+query.Encode(), body,
		"Content-Type", mediaTypes[cmp.Or(c.Format, formatBy(body))], "Accept", mediaTypes["ndjson"], "Idempotency-Key", key)
	if err != nil {
		return goOn(err, key)
	}
	defer func() { _ = answer.Body.Close() }()
	return s.follow(answer.Body, bar(s.streams, size, "import", true), key)
}

// goOn tells how to go on after an import that broke off. So does one that is answered with a fault of the server or
// of a proxy, or with a timeout: part of the file may have been sent before.
func goOn(err error, key string) error {
	exit, torn := errors.AsType[exitError](err)
	torn = torn && exit.code == tornCode
	if refused, ok := errors.AsType[statusError](err); ok {
		torn = refused.status >= http.StatusInternalServerError || refused.status == http.StatusRequestTimeout
	}
	if !torn {
		return err
	}
	return exitError{tornCode, fmt.Errorf("%w\nSend the file again with --key %s to go on", err, key)}
}

// open opens the file and returns its size, which is -1 if unknown.
func (c *importCmd) open(ctx context.Context) (io.ReadCloser, int64, error) {
	if c.File == "-" {
		return io.NopCloser(stdin(ctx)), -1, nil
	}
	info, err := os.Stat(c.File)
	size := int64(-1)
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir():
		return nil, 0, fmt.Errorf("%s: is a folder", c.File)
	case info.Mode().IsRegular():
		size = info.Size()
	}
	file, err := os.Open(c.File)
	return file, size, err
}

// formatBy returns a file's format. Its first byte that is no blank decides: a CSV header begins with a name.
func formatBy(file *bufio.Reader) string {
	begin, _ := file.Peek(512) // an error comes again when the file is sent
	begin = bytes.TrimLeft(bytes.TrimPrefix(begin, []byte("\ufeff")), " \t\r\n")
	if len(begin) == 0 || begin[0] == '{' {
		return "ndjson"
	}
	return "csv"
}

// importResult is a line of the answer to an import: the result of a line of the file, the progress, or the summary.
type importResult struct {
	Line     int            `json:"line"`
	Status   int            `json:"status"`
	Problem  jsontext.Value `json:"problem"`
	Progress *struct {
		Bytes int64 `json:"bytes"`
	} `json:"progress"`
	Summary map[string]jsontext.Value `json:"summary"`
}

// follow shows the results of an import as they arrive.
func (s *service) follow(answer io.Reader, progress *progressbar.ProgressBar, key string) error {
	var summary map[string]jsontext.Value
	lines := bufio.NewReader(answer)
	for {
		text, err := lines.ReadBytes('\n')
		if len(text) > 0 && err == nil {
			var line importResult
			if err := json.Unmarshal(text, &line); err != nil {
				return torn("not an answer of ai-admin: %w", err)
			}
			switch {
			case line.Progress != nil:
				_ = progress.Set64(line.Progress.Bytes)
			case line.Summary != nil:
				summary = line.Summary
			case s.output == "table":
				_ = progress.Clear()
				text = fmt.Appendf(nil, "line %d: %s\n", line.Line, problemText(line.Problem, "failed"))
			}
			if line.Progress == nil && (s.output != "table" || line.Summary == nil) {
				if _, err := s.streams.out.Write(text); err != nil {
					return goOn(torn("the results cannot be written: %w", err), key)
				}
			}
		}
		if err != nil {
			_ = progress.Finish()
			return s.sum(summary, key)
		}
	}
}

// sum prints the counts of an import, and returns an error if it did not do all of the file.
func (s *service) sum(summary map[string]jsontext.Value, key string) error {
	if summary == nil {
		return torn("the answer broke off: send the file again with --key %s to go on", key)
	}
	var counts []string
	for _, name := range []string{"created", "updated", "unchanged", "deleted", "failed"} {
		counts = append(counts, string(summary[name])+" "+name)
	}
	fmt.Fprintln(s.streams.err, strings.Join(counts, ", "))
	if done := summary["doneThrough"]; done != nil {
		var problem struct {
			Status int `json:"status"`
		}
		if err := json.Unmarshal(summary["problem"], &problem); err == nil && problem.Status < http.StatusInternalServerError {
			return exitError{1, fmt.Errorf("done through line %s, then: %s", done, problemText(summary["problem"], "stopped"))}
		}
		return torn("done through line %s, then: %s\nSend the file again with --key %s to go on", done, problemText(summary["problem"], "stopped"), key)
	}
	if string(summary["failed"]) != "0" {
		return exitError{1, fmt.Errorf("%s lines failed", summary["failed"])}
	}
	return nil
}
