// Package request has what every transport of the service needs of the request that it serves: who asks, from
// where, under which id, the request's line in the log, and the problem document that answers a failure.
package request

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"aiadmin/pkg/tracing"
	"aiadmin/pkg/user"
)

// Info is what is known of a request while it is served; handlers fill it in for its log line.
type Info struct {
	ID, Route, Actor string
	Started          time.Time
	AnswerTime       time.Duration // for a large answer to be taken
	Failure          error
	Severity         slog.Level      // of the line that tells of a failure of the service's
	Revealed         []slog.Attr     // whose secret for which provider was asked for
	Quiet            bool            // no line unless the request fails
	Traced           context.Context // the event's, if the request brought one: its trace is logged
}

type infoKey struct{}

// With returns a context of the request that info is about.
func With(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

// Of returns what is known of the request being served; outside of one, an empty Info that nobody reads.
func Of(ctx context.Context) *Info {
	if known, ok := ctx.Value(infoKey{}).(*Info); ok {
		return known
	}
	return &Info{}
}

// Describe notes the route and the caller. A quiet request has a line in the log only when it fails.
func (i *Info) Describe(route, caller string, quiet bool) {
	i.Route, i.Actor, i.Quiet = route, caller, quiet
}

// Origin returns who asks by a request, for the command that it becomes.
func Origin(r *http.Request) user.Origin {
	known := Of(r.Context())
	return user.Origin{Actor: known.Actor, Cause: known.ID, SourceIP: sourceIP(r), TraceParent: tracing.Parent(r.Context())}
}

// AuditEntry begins an entry of the audit log on the request being served.
func AuditEntry(r *http.Request, action user.AuditAction) user.AuditEntry {
	known := Of(r.Context())
	return user.AuditEntry{Actor: known.Actor, Action: action, RequestID: known.ID, SourceIP: sourceIP(r), Outcome: user.Succeeded}
}

// Base returns the scheme and host that the client used.
func Base(r *http.Request) string {
	if IsTLS(r) {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// IsTLS reports whether the client connected by TLS, which a proxy may have ended: X-Forwarded-Proto says so, or
// Forwarded (RFC 7239, section 4). Of several proxies, the first is the one that the client reached.
func IsTLS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	if first == "" {
		hop, _, _ := strings.Cut(r.Header.Get("Forwarded"), ",")
		for pair := range strings.SplitSeq(hop, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, "proto") {
				first = strings.Trim(value, `"`)
			}
		}
	}
	return strings.EqualFold(strings.TrimSpace(first), "https")
}

// sourceIP returns the address of the client that sent a request, as far as it can be known. A peer at a
// public address is the client. One at a private address (a sidecar, an ingress) is believed about the
// address that it received the request from: the last in X-Forwarded-For, and so on while those are private.
// So what a client outside the cluster writes into the header itself is never reached; one inside can lie.
func sourceIP(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	source := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && isInternal(source); i-- {
		hop, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		source = hop
	}
	return source.WithZone("").String()
}

func isInternal(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() }

// parseHop reads an address with or without a port: some proxies write one.
func parseHop(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap(), err == nil
}

// Recorder notes what was answered.
type Recorder struct {
	http.ResponseWriter
	Status int // 0 until an answer begins
	Bytes  int64
}

// WriteHeader implements [http.ResponseWriter].
func (r *Recorder) WriteHeader(status int) {
	if r.Status == 0 && status >= 200 {
		r.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *Recorder) Write(b []byte) (int, error) {
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.Bytes += int64(n)
	return n, err
}

// Unwrap lets [http.ResponseController] reach the connection.
func (r *Recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
