package httpapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"aiadmin/pkg/body"
	"aiadmin/pkg/gather"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

const (
	importsAtOnce   = 2
	importGroup     = 1000                 // lines that are carried out together
	importLinger    = 5 * time.Millisecond // for a group to fill up
	importBytes     = 8 << 20              // of lines that are read and not carried out yet
	importIdle      = time.Minute          // for a client to send more of its file
	importPatience  = time.Minute          // with a database that is away
	progressEvery   = time.Second
	answerBytes     = 8 << 20 // of results that the client has not taken yet
	maxImportedFile = 1 << 30
)

var errFileTooLarge = user.Errorf(user.TooLarge, "the file is larger than 1 GiB: send the rest as another")

var errImporting = user.Errorf(user.Unavailable, "two imports are running: try again when one of them has ended")

// importUsers carries out a file of changes while it arrives, and answers what becomes of each line.
func (a *API) importUsers(w http.ResponseWriter, r *http.Request) error {
	values, err := queryValues(r)
	if err != nil {
		return err
	}
	how, err := user.ParseImport(values)
	if err != nil {
		return err
	}
	if err := checkMediaType(w, r, []string{ndjsonType, csvType}); err != nil {
		return err
	}
	if r.ContentLength > maxImportedFile {
		return errFileTooLarge
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	select {
	case a.imports <- struct{}{}:
		defer func() { <-a.imports }()
	case <-time.After(exportPatience):
		return errImporting
	case <-r.Context().Done():
		return r.Context().Err()
	}
	control := http.NewResponseController(w)
	lines, err := openLines(r, &patientReader{http.MaxBytesReader(w, r.Body, maxImportedFile), control})
	if err != nil {
		return importError(err)
	}
	_ = control.EnableFullDuplex() // HTTP/2 always is
	if r.ProtoMajor == 1 {
		// An import that ends early leaves a part of its file unread. In full duplex, net/http then panics at the
		// connection's next request.
		w.Header().Set("Connection", "close")
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	i := &importing{api: a, r: r, how: how, lines: lines, key: key, applyAll: a.options.Admin.ApplyAll, claims: !how.DryRun,
		answer: newAnswer(w, r, cancel), queue: make(chan importLine, importGroup), bytes: semaphore.NewWeighted(importBytes)}
	if how.DryRun {
		var end func()
		i.applyAll, end = a.options.Admin.DryRun()
		defer end()
	}
	return i.run(ctx, control)
}

func openLines(r *http.Request, from io.Reader) (*body.Lines, error) {
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && mediaType == csvType {
		return body.ReadCSV(from)
	}
	return body.ReadNDJSON(from), nil
}

// importError says what is wrong with the whole of a file.
func importError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errFileTooLarge
	}
	if _, ok := errors.AsType[*user.Error](err); ok {
		return err
	}
	return user.Errorf(user.Timeout, "the rest of the file did not arrive").Wrap(err) // no fault of the file: to be sent again
}

// patientReader reads a body for as long as more of it comes: an import takes longer than other requests.
type patientReader struct {
	from    io.Reader
	control *http.ResponseController
}

// Read implements [io.Reader].
func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(importIdle)) // test writers have none
	return p.from.Read(b)
}

// importLine is a line on its way to be carried out.
type importLine struct {
	body.Line
	command user.Command
	weight  int64 // of the budget of bytes
}

// importing is one import at work: a goroutine reads lines, another answers, and between them groups of
// lines are carried out.
type importing struct {
	api      *API
	r        *http.Request
	how      user.Import
	lines    *body.Lines
	key      string
	claims   bool
	origin   user.Origin
	audit    *user.AuditEntry
	applyAll func(context.Context, []user.Command) ([]user.Result, error)
	answer   *answer

	queue   chan importLine
	bytes   *semaphore.Weighted
	readErr error // why reading has ended, once queue is closed; nil at the file's end

	summary    summary
	progressed time.Time
}

// summary is what an import tells at its end.
type summary struct {
	created, updated, unchanged, deleted, failed int64
	lines, bytes                                 int64 // so far
	doneThrough                                  int   // the last line that was carried out
}

type count struct {
	name  string
	value int64
}

func (s *summary) counts() [5]count {
	return [...]count{{"created", s.created}, {"updated", s.updated}, {"unchanged", s.unchanged}, {"deleted", s.deleted}, {"failed", s.failed}}
}

func (i *importing) run(ctx context.Context, control *http.ResponseController) error {
	id := user.NewID().String()
	if i.key == "" { // so that a group whose answer is lost can be carried out again
		i.key = id
	}
	entry := request.AuditEntry(i.r, user.UsersImported)
	entry.Bucket = string(user.UsersImported) + " " + id
	entry.Detail = detailOf("mode", string(i.how.Mode), "match", i.how.Match)
	i.origin, i.audit, i.progressed = request.Origin(i.r), &entry, time.Now()

	reading, stop := context.WithCancel(ctx)
	var reader sync.WaitGroup
	reader.Go(func() { i.read(reading) })
	err := i.carryOut(ctx)
	stop()
	if err != nil {
		_ = control.SetReadDeadline(time.Unix(1, 0)) // the reader may wait for a client that sends no more
	}
	reader.Wait()
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, errAnswerTorn) {
		err = cause
	}
	if errors.Is(err, context.Canceled) { // the client is gone, or has closed its half of the connection
		err = importError(err)
	}
	return i.answer.end(i.summary, err)
}

// read reads lines and makes them commands until the file, or ctx, ends.
func (i *importing) read(ctx context.Context) {
	defer close(i.queue)
	i.readErr = gather.Guarded(func() error { return i.readLines(ctx) })
}

func (i *importing) readLines(ctx context.Context) error {
	for {
		line, err := i.lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return importError(err)
		}
		if line.Err == nil && user.IsEnd(line.Object) {
			continue
		}
		next := importLine{Line: line, weight: min(importBytes, int64(len(line.Object))+512)}
		if line.Err == nil {
			next.command, next.Err = i.command(line)
		}
		if err := i.bytes.Acquire(ctx, next.weight); err != nil {
			return err
		}
		select {
		case i.queue <- next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// command returns what a line asks for. Line n is claimed as (key, n).
func (i *importing) command(line body.Line) (user.Command, error) {
	change, ref, err := i.how.Command(line.Object)
	if err != nil {
		return user.Command{}, err
	}
	command := user.Command{Change: change, User: ref, Origin: i.origin}
	if i.claims {
		digest := sha256.New()
		_, _ = io.WriteString(digest, string(i.how.Mode)+" "+i.how.Match+" ")
		_, _ = digest.Write(line.Object)
		command.Audit = i.audit
		command.Claim = &user.Claim{Kind: user.RequestClaim, Scope: command.Actor, ID: i.key + " " + strconv.Itoa(line.Number), Digest: digest.Sum(nil)}
	}
	return command, nil
}

// carryOut carries out groups of lines until there are no more. Its error says why it stopped early.
func (i *importing) carryOut(ctx context.Context) error {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case first, ok := <-i.queue:
			if !ok {
				return errors.Join(i.readErr, ctx.Err())
			}
			if err := i.carryOutGroup(ctx, i.group(first)); err != nil {
				return err
			}
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		i.progress()
	}
}

// group returns lines that are carried out together: those that are there, and what comes shortly.
func (i *importing) group(first importLine) []importLine {
	group := append(make([]importLine, 0, importGroup), first)
	timer := time.NewTimer(importLinger)
	defer timer.Stop()
	for len(group) < importGroup {
		select {
		case next, ok := <-i.queue:
			if !ok {
				return group
			}
			group = append(group, next)
		case <-timer.C:
			return group
		}
	}
	return group
}

func (i *importing) carryOutGroup(ctx context.Context, group []importLine) error {
	var commands []user.Command
	var weight int64
	for _, line := range group {
		weight += line.weight
		if line.Err == nil {
			commands = append(commands, line.command)
		}
	}
	defer i.bytes.Release(weight)
	results, err := i.apply(ctx, commands)
	if err != nil {
		return err
	}
	before := i.summary
	out := make([]byte, 0, 80*len(group))
	for _, line := range group {
		result := user.Result{Err: line.Err}
		if line.Err == nil {
			result, results = results[0], results[1:]
		}
		out = i.result(out, line.Number, &result)
	}
	i.observe(&before)
	last := group[len(group)-1]
	i.summary.lines += int64(len(group))
	i.summary.bytes, i.summary.doneThrough = last.Read, last.Number
	return i.answer.write(out)
}

// observe counts what became of a group's lines since before.
func (i *importing) observe(before *summary) {
	if i.api.options.Imported == nil || i.how.DryRun {
		return
	}
	was := before.counts()
	for n, now := range i.summary.counts() {
		if now.value > was[n].value {
			i.api.options.Imported(now.name, now.value-was[n].value)
		}
	}
}

var errRepeated = user.Errorf(user.Unavailable, "an earlier attempt is still under way")

// apply carries out commands. It waits for a database that is away, and repeats what may not have happened:
// what has is claimed, and answers as it did.
func (i *importing) apply(ctx context.Context, commands []user.Command) ([]user.Result, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	attempts := 0
	attempt := func() ([]user.Result, error) {
		attempts++
		results, err := i.applyAll(ctx, commands)
		for n := range results {
			if attempts > 1 && user.KindOf(results[n].Err) == user.InProgress {
				return nil, errRepeated
			}
		}
		if kind := user.KindOf(err); err != nil && (ctx.Err() != nil || kind != user.Unavailable && kind != user.Timeout || i.how.DryRun) {
			err = backoff.Permanent(err)
		}
		return results, err
	}
	return backoff.Retry(ctx, attempt, backoff.WithMaxElapsedTime(importPatience), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 2 * time.Second}),
		backoff.WithNotify(func(error, time.Duration) { i.progress() }))
}

// result counts what became of a line, and appends what is answered of it.
func (i *importing) result(dst []byte, line int, result *user.Result) []byte {
	var status int
	switch {
	case result.Err != nil:
		i.summary.failed++
		status = request.Status(result.Err)
		dst = strconv.AppendInt(append(dst, `{"line":`...), int64(line), 10)
		dst = strconv.AppendInt(append(dst, `,"status":`...), int64(status), 10)
		return append(append(append(dst, `,"problem":`...), request.Problem(i.r, status, result.Err)...), "}\n"...)
	case result.Event == nil:
		i.summary.unchanged++
		status = http.StatusOK
	case result.Event.Type == user.Created:
		i.summary.created++
		status = http.StatusCreated
	case result.Event.Type == user.Deleted:
		i.summary.deleted++
		status = http.StatusNoContent
	default:
		i.summary.updated++
		status = http.StatusOK
	}
	if i.how.FailedOnly {
		return dst
	}
	id := result.UserID
	if result.Event != nil {
		id = result.Event.UserID
	}
	dst = strconv.AppendInt(append(dst, `{"line":`...), int64(line), 10)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(status), 10)
	if id != uuid.Nil {
		dst = append(append(append(dst, `,"id":"`...), id.String()...), '"')
	}
	return append(dst, "}\n"...)
}

// progress tells how far the import is, every second.
func (i *importing) progress() {
	if time.Since(i.progressed) < progressEvery {
		return
	}
	i.progressed = time.Now()
	dst := strconv.AppendInt([]byte(`{"progress":{"lines":`), i.summary.lines, 10)
	dst = append(strconv.AppendInt(append(dst, `,"bytes":`...), i.summary.bytes, 10), "}}\n"...)
	_ = i.answer.write(dst) // whose error ends the import elsewhere
}

// appendSummary appends the answer's last line. With an error, not all was done.
func appendSummary(dst []byte, r *http.Request, s summary, err error) []byte {
	dst = append(dst, `{"summary":`...)
	for n, count := range s.counts() {
		dst = append(append(append(append(dst, "{,"[min(n, 1)], '"'), count.name...), '"'), ':')
		dst = strconv.AppendInt(dst, count.value, 10)
	}
	if err != nil {
		dst = strconv.AppendInt(append(dst, `,"doneThrough":`...), int64(s.doneThrough), 10)
		dst = append(append(dst, `,"problem":`...), request.Problem(r, request.Status(err), err)...)
	}
	return append(dst, "}}\n"...)
}

// answer writes an answer while its request is still read. A client that sends its whole file before it
// reads has its results kept, within a bound.
type answer struct {
	w      http.ResponseWriter
	r      *http.Request
	torn   context.CancelCauseFunc
	chunks chan []byte
	bytes  *semaphore.Weighted
	done   chan struct{}
}

var errAnswerTorn = errors.New("the client does not take the answer")

func newAnswer(w http.ResponseWriter, r *http.Request, torn context.CancelCauseFunc) *answer {
	a := &answer{w: w, r: r, torn: torn, chunks: make(chan []byte, importGroup), bytes: semaphore.NewWeighted(answerBytes), done: make(chan struct{})}
	w.Header().Set("Content-Type", ndjsonType)
	go a.send()
	return a
}

func (a *answer) send() {
	defer close(a.done)
	control := http.NewResponseController(a.w)
	for chunk := range a.chunks {
		_ = control.SetWriteDeadline(time.Now().Add(request.Of(a.r.Context()).AnswerTime)) // test writers have none
		_, err := a.w.Write(chunk)
		if err == nil {
			err = control.Flush()
		}
		a.bytes.Release(min(answerBytes, int64(len(chunk))))
		if err != nil {
			a.torn(errAnswerTorn)
		}
	}
}

// write hands a chunk over, also when the request has ended: what was carried out is told. Too much that the
// client has not taken ends the import.
func (a *answer) write(chunk []byte) error {
	if len(chunk) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.r.Context()), request.Of(a.r.Context()).AnswerTime)
	defer cancel()
	if a.bytes.Acquire(ctx, min(answerBytes, int64(len(chunk)))) != nil {
		a.torn(errAnswerTorn)
		return errAnswerTorn
	}
	a.chunks <- chunk
	return nil
}

// end writes the summary. An answer that nobody takes is torn.
func (a *answer) end(s summary, err error) error {
	if !errors.Is(err, errAnswerTorn) {
		err = cmp.Or(a.write(appendSummary(nil, a.r, s, err)), err)
	}
	close(a.chunks)
	<-a.done
	if err != nil {
		request.Of(a.r.Context()).Failure = err
	}
	if errors.Is(err, errAnswerTorn) {
		panic(http.ErrAbortHandler)
	}
	return nil
}
