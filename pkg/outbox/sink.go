package outbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/user"
)

// sink sends events to one URL in binary mode (HTTP Protocol Binding 1.0.2, section 3.1).
type sink struct {
	url        string
	source     string
	extensions []extension
	client     *http.Client
	timeout    time.Duration
	tokenFile  string
}

const (
	sendTimeout  = 30 * time.Second // of one try
	drainTimeout = 2 * time.Second  // for an answer's body, which nobody reads
	maxDrained   = 64 << 10         // bytes; past that the connection is closed instead of used again
	maxFlying    = 64               // requests at once
)

var errSink = errors.New("K_SINK must be an http or https URL with a host")

func newSink(o Options) (*sink, error) {
	address, err := url.Parse(o.Sink)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, errSink // the URL itself may hold a password
	}
	extensions, err := parseOverrides(o.Overrides)
	if err != nil {
		return nil, err
	}
	client := o.Client
	if client == nil {
		client = newClient(cmp.Or(o.TrustFolder, trustFolder))
	}
	return &sink{o.Sink, o.Source, extensions, client, sendTimeout, cmp.Or(o.TokenFile, tokenFile)}, nil
}

// newClient keeps a connection per request at once, and follows no redirect: the event is
// for the sink that the operator named, and for no other host.
func newClient(trust string) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DialTLSContext: dialTLS(dialer, trust),
			ForceAttemptHTTP2: true, MaxIdleConns: maxFlying, MaxIdleConnsPerHost: maxFlying,
			IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			DisableCompression: true,
		},
	}
}

// send tries once to deliver an event.
func (s *sink) send(ctx context.Context, e user.Event) answer {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request, err := s.request(ctx, e)
	if err != nil {
		return failure("cannot be sent", err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		if whole, ok := errors.AsType[*url.Error](err); ok { // it shows the sink's address, which may hold a token
			err = whole.Err
		}
		return failure(networkFault(err), err)
	}
	drain(response, cancel)
	return judge(response, time.Now())
}

func (s *sink) request(ctx context.Context, e user.Event) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(e.Data))
	if err != nil {
		return nil, err
	}
	cloudevent.SetHeader(request.Header, e, s.source)
	for _, x := range s.extensions {
		cloudevent.SetAttribute(request.Header, x.name, x.value)
	}
	request.Header.Set("User-Agent", "ai-admin")
	if token := readToken(s.tokenFile); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// An idle connection may have been closed by the sink: the empty value lets net/http
	// send the request on a new one, and is not sent itself. The event's id is its key.
	request.Header["Idempotency-Key"] = []string{}
	return request, nil
}

// drain reads what little an answer should have, so that the connection can be used again.
func drain(response *http.Response, cancel context.CancelFunc) {
	defer func() { _ = response.Body.Close() }()
	timer := time.AfterFunc(drainTimeout, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, response.Body, maxDrained)
}

// networkFault names the kind of a failure that has no status.
func networkFault(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "dial" {
		return "cannot be reached"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "has a certificate that is not trusted"
	}
	return "connection broken"
}

// String names the sink for the log, without a password.
func (s *sink) String() string {
	address, err := url.Parse(s.url)
	if err != nil {
		return "?"
	}
	return fmt.Sprintf("%s://%s%s", address.Scheme, address.Host, address.Path)
}
