package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

const usersPath = "/ai/admin/users"

// userRef returns the user that the path names: by id, or by another unique value such as tag:ada.
func userRef(r *http.Request) (user.Ref, error) {
	ref, ok := user.ParseRef(r.PathValue("UserID"))
	if !ok {
		return ref, user.Errorf(user.NotFound, "no such user: name it by its id, a UUID, or by tag:, email:, userName: or externalId: and the value")
	}
	return ref, nil
}

// userID returns the id of the user that the path names at present.
func (a *API) userID(r *http.Request) (uuid.UUID, error) {
	ref, err := userRef(r)
	if err != nil || ref.ID != uuid.Nil {
		return ref.ID, err
	}
	u, err := a.options.Admin.Get(r.Context(), ref)
	if err != nil {
		return uuid.Nil, err
	}
	return u.ID, nil
}

// command returns a change of the user that the path names, under the request's preconditions.
func (a *API) command(r *http.Request, change user.Change) (command user.Command, err error) {
	ref, err := userRef(r)
	if err != nil {
		return command, err
	}
	command = user.Command{Change: change, User: ref, Origin: request.Origin(r)}
	if command.IfMatch, err = precondition(r, "If-Match"); err != nil {
		return command, err
	}
	command.IfNoneMatch, err = precondition(r, "If-None-Match")
	return command, err
}

// apply carries out a change of the user that the path names.
func (a *API) apply(r *http.Request, change user.Change) (user.Outcome, error) {
	command, err := a.command(r, change)
	if err != nil {
		return user.Outcome{}, err
	}
	return a.options.Admin.Apply(r.Context(), command)
}

func (a *API) create(w http.ResponseWriter, r *http.Request) error {
	body, done, err := a.readBody(w, r, "application/json")
	if err != nil {
		return err
	}
	defer done()
	change, err := user.ParseCreate(body)
	if err != nil {
		return err
	}
	claim, err := claimOf(r, body)
	if err != nil {
		return err
	}
	outcome, err := a.options.Admin.Apply(r.Context(), user.Command{Change: change, Claim: claim, Origin: request.Origin(r)})
	if err != nil {
		return err
	}
	w.Header().Set("Location", usersPath+"/"+outcome.Event.UserID.String())
	if outcome.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
		return writeUser(w, r, http.StatusCreated, outcome.Event.Version, outcome.Event.UserJSON())
	}
	return writeUser(w, r, http.StatusCreated, outcome.User.Version, outcome.User.AppendJSON(nil))
}

func (a *API) put(w http.ResponseWriter, r *http.Request) error {
	return a.update(w, r, "application/json")
}

func (a *API) patch(w http.ResponseWriter, r *http.Request) error {
	return a.update(w, r, "application/merge-patch+json", "application/json")
}

func (a *API) update(w http.ResponseWriter, r *http.Request, mediaTypes ...string) error {
	body, done, err := a.readBody(w, r, mediaTypes...)
	if err != nil {
		return err
	}
	defer done()
	change, err := user.ParseUpdate(body)
	if err != nil {
		return err
	}
	outcome, err := a.apply(r, change)
	if err != nil {
		return err
	}
	return writeUser(w, r, http.StatusOK, outcome.User.Version, outcome.User.AppendJSON(nil))
}

func (a *API) delete(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.apply(r, user.Delete{}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	ref, err := userRef(r)
	if err != nil {
		return err
	}
	u, err := a.options.Admin.Get(r.Context(), ref)
	if err != nil {
		return err
	}
	if unmodified(r, etag(u.Version)) {
		w.Header().Set("ETag", etag(u.Version))
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	buffer := takeBuffer()
	defer giveBuffer(buffer)
	*buffer = u.AppendJSON(*buffer)
	return writeUser(w, r, http.StatusOK, u.Version, *buffer)
}

func (a *API) list(w http.ResponseWriter, r *http.Request) error {
	values, file, err := queryAndFile(w, r, ndjsonType, csvType)
	if err != nil {
		return err
	}
	if file != "" {
		return a.exportUsers(w, r, values, file)
	}
	query, err := user.ParseQuery(values)
	if err != nil {
		return err
	}
	// Many copies of a client tend to ask for the same page at the same time.
	found, alone, err := a.lists.Ask(r.Context(), r.URL.RawQuery, func(ctx context.Context) (*page, error) { return a.page(ctx, query) })
	if err != nil {
		return err
	}
	if alone {
		defer giveBuffer(found.body)
	}
	linkNext(w, r, values, found.next)
	return writeJSON(w, r, http.StatusOK, *found.body)
}

// page is a page of users as JSON, and the next one's cursor if there is one.
type page struct {
	body *[]byte
	next string
}

// Pages that are being read share a budget of bytes: as many of 500 users as there may be requests would be
// gigabytes. A page takes what its users may be at most, but for rare ones with long lists of models; those
// of the default size never wait for the budget, since connections run out before it does.
const (
	pageBudget   = 48 << 20
	maxUserBytes = 24 << 10
)

// page reads a page into a buffer of the pool.
func (a *API) page(ctx context.Context, query user.Query) (*page, error) {
	size := int64(query.Limit+1) * maxUserBytes
	if err := a.pages.Acquire(ctx, size); err != nil {
		return nil, err
	}
	defer a.pages.Release(size)
	found, err := a.options.Admin.List(ctx, query)
	if err != nil {
		return nil, err
	}
	p := page{body: takeBuffer()}
	if found.More {
		p.next = query.CursorAfter(found.Users[len(found.Users)-1])
	}
	*p.body = appendPage(*p.body, listed{"users", query.Limit, p.next, found.Total, found.TotalIsExact}, found.Users,
		func(dst []byte, u **user.User) []byte { return (*u).AppendJSON(dst) })
	return &p, nil
}

func (a *API) reveal(w http.ResponseWriter, r *http.Request) error {
	id, err := a.userID(r)
	if err != nil {
		return err
	}
	provider := r.PathValue("provider")
	if !user.IsProvider(provider) {
		return user.Errorf(user.NotFound, "no such credential: a provider is 1 to 63 of a-z 0-9 - _")
	}
	request.Of(r.Context()).Revealed = []slog.Attr{slog.String("userId", id.String()), slog.String("provider", provider)}
	plain, err := a.options.Admin.Reveal(r.Context(), id, provider, request.AuditEntry(r, user.CredentialRevealed))
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"provider": provider, "secret": plain.Reveal()}, json.Deterministic(true))
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, r, http.StatusOK, body)
}

func writeUser(w http.ResponseWriter, r *http.Request, status int, version int64, body jsontext.Value) error {
	w.Header().Set("ETag", etag(version))
	return writeJSON(w, r, status, body)
}

// A large answer must be taken at 2 Mbit/s after a start of [Options.AnswerTimeout]: a client
// that reads slowly holds a place in the gate, and the answer's memory.
const (
	answerRate  = 256 << 10 // bytes a second
	largeAnswer = 64 << 10  // a smaller one fits into the connection's buffers
)

// writeJSON answers a body. When it cannot be written the client is gone, which is for
// the log alone.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) error {
	return write(w, r, status, "application/json", body)
}

// write answers with a body of a media type; a large one has time for its size.
func write(w http.ResponseWriter, r *http.Request, status int, mediaType string, body []byte) error {
	if len(body) > largeAnswer {
		end := time.Now().Add(request.Of(r.Context()).AnswerTime + time.Duration(len(body))*time.Second/answerRate)
		_ = http.NewResponseController(w).SetWriteDeadline(end) // test writers have none
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil && r.Method != http.MethodHead {
		request.Of(r.Context()).Failure = err
	}
	return nil
}

// maxKeptBuffer keeps one huge answer from holding on to its memory.
const maxKeptBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func takeBuffer() *[]byte { return buffers.Get().(*[]byte) } //nolint:forcetypeassert // the pool holds nothing else

func giveBuffer(b *[]byte) {
	if cap(*b) <= maxKeptBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}
