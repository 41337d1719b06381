package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/auth"
	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

// auditPatience is how long a refusal waits for its entry: with the database away, it is answered all the same.
const auditPatience = 250 * time.Millisecond

// AuditRefusal records that a request was refused for who sent it, and logs what cannot be recorded. A missing token
// is no attempt.
func (a *API) AuditRefusal(r *http.Request, scope auth.Scope, refusal error) {
	entry := request.AuditEntry(r, user.ScopeDenied)
	entry.Outcome = user.Denied
	switch user.KindOf(refusal) {
	case user.Forbidden:
		entry.Detail = detailOf("scope", string(scope), "route", request.Of(r.Context()).Route)
		if ref, err := userRef(r); err == nil {
			entry.UserID = ref.ID // none when the user is named otherwise
		}
		if provider := r.PathValue("provider"); user.IsProvider(provider) {
			entry.Provider = provider
		}
		if !a.denials.Allow() { // one client's loop would fill the log
			entry.Bucket = bucketOf(entry.Action, entry.Actor)
		}
	case user.Unauthenticated:
		if errors.Is(refusal, auth.ErrMissing) {
			return
		}
		entry.Action, entry.Bucket = user.TokenRefused, bucketOf(user.TokenRefused, network(entry.SourceIP))
	default:
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), auditPatience)
	defer cancel()
	_ = a.options.Admin.Audit(ctx, entry) // whose failure it logs itself
}

// bucketOf counts the same by the same in one entry a minute.
func bucketOf(action user.AuditAction, by string) string {
	return string(action) + " " + time.Now().UTC().Format("2006-01-02T15:04Z") + " " + by
}

// network returns what one client can be assumed to have: an IPv4 address, or 64 bits of IPv6.
func network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() {
		return ip
	}
	prefix, _ := a.Prefix(64)
	return prefix.String()
}

// detailOf writes a JSON object of names and texts in turn.
func detailOf(pairs ...string) jsontext.Value {
	detail := []byte{'{'}
	for i, text := range pairs {
		if i > 0 {
			detail = append(detail, ",:"[i%2])
		}
		detail, _ = jsontext.AppendQuote(detail, text)
	}
	return append(detail, '}')
}

func (a *API) auditLog(w http.ResponseWriter, r *http.Request) error {
	values, file, err := queryAndFile(w, r, ndjsonType)
	if err != nil {
		return err
	}
	query, err := user.ParseAuditQuery(values)
	if err != nil {
		return err
	}
	if file != "" {
		return a.exportAudit(w, r, values, query)
	}
	page, err := a.options.Admin.AuditLog(r.Context(), query)
	if err != nil {
		return err
	}
	return writePage(w, r, values, listed{name: "audit", limit: query.Limit, next: page.Next}, page.Entries, appendAudit)
}

func appendAudit(dst []byte, e *user.AuditEntry) []byte { return e.AppendJSON(dst) }

func (a *API) exportAudit(w http.ResponseWriter, r *http.Request, values url.Values, query user.AuditQuery) error {
	query.Limit = user.MaxLimit
	return a.exportPages(w, r, "audit", uuid.Nil, values, func(e *export, _ string) (string, bool, error) {
		page, err := a.options.Admin.AuditLog(r.Context(), query)
		if err != nil || len(page.Entries) == 0 {
			return "", false, err
		}
		query.Before = page.Entries[len(page.Entries)-1].ID
		return page.Next, page.Next != "", lines(e, page.Entries, appendAudit)
	})
}

func (a *API) log(w http.ResponseWriter, r *http.Request) error {
	values, err := queryValues(r)
	if err != nil {
		return err
	}
	query, err := user.ParseLogQuery(values)
	if err != nil {
		return err
	}
	page, err := a.options.Admin.Log(r.Context(), query)
	if err != nil {
		return err
	}
	return writePage(w, r, values, listed{name: "history", limit: query.Limit, next: page.Next}, page.Entries, appendLogEntry)
}

// appendLogEntry appends an entry of the history of all users.
func appendLogEntry(dst []byte, e *user.LogEntry) []byte {
	dst = append(append(dst, `{"userId":"`...), e.UserID.String()...)
	return append(append(dst, `",`...), appendHistory(nil, e)[1:]...)
}
