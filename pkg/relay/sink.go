package relay

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/cloudevent"
	"aiadmin/pkg/tracing"
	"aiadmin/pkg/user"
)

// sink sends events to one URL in binary mode (HTTP Protocol Binding 1.0.2, section 3.1).
type sink struct {
	url        string
	source     string
	extensions map[string]string // that the operator adds to every event
	client     *http.Client
	timeout    time.Duration
	tokenFile  string
	tracer     *tracing.Tracer
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
	return &sink{o.Sink, o.Source, extensions, newClient(cmp.Or(o.TrustFolder, trustFolder)), sendTimeout, cmp.Or(o.TokenFile, tokenFile), o.Tracer}, nil
}

// newClient keeps a connection for each concurrent request, and follows no redirect: the event is
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
	ctx, span := s.tracer.Client(tracing.WithParent(ctx, e.TraceParent), "deliver event")
	defer span.End()
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
	tracing.Answered(span, http.MethodPost, "", response.StatusCode)
	return judge(response, time.Now())
}

func (s *sink) request(ctx context.Context, e user.Event) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(e.Data))
	if err != nil {
		return nil, err
	}
	cloudevent.SetHeader(request.Header, e, s.source)
	for name, value := range s.extensions {
		cloudevent.SetAttribute(request.Header, name, value)
	}
	tracing.Inject(ctx, request.Header)
	request.Header.Set("User-Agent", "ai-admin")
	if token := readToken(s.tokenFile); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// An idle connection may have been closed by the sink: the empty value lets net/http
	// send the request on a new one, and is not sent itself. The event's id is its key.
	request.Header["Idempotency-Key"] = []string{}
	return request, nil
}

// drain reads the rest of an answer, which should be short, so that the connection can be reused.
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

// tokenFile is where a SinkBinding mounts the sender's token, with Eventing's authentication-oidc:
// without it a broker answers 401 to every event.
const tokenFile = "/oidc/token"

// readToken returns the token of a file, empty where there is none. It is read for each
// event, since Eventing renews the token within the hour: a few microseconds.
func readToken(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// trustFolder is where a SinkBinding mounts Eventing's trust bundles: the certificates, in
// PEM, of authorities that sign for sinks inside the cluster (transport-encryption).
const trustFolder = "/knative-custom-certs"

const dialTimeout = 5 * time.Second // to connect, and again for the TLS handshake

// dialTLS connects to sinks that the host's authorities vouch for, or those in folder. It
// reads them for each connection, since authorities are replaced while the service runs.
func dialTLS(dialer *net.Dialer, folder string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
		defer cancel()
		secure := tls.Dialer{NetDialer: dialer, Config: &tls.Config{MinVersion: tls.VersionTLS12,
			RootCAs: trusted(folder), NextProtos: []string{"h2", "http/1.1"}}}
		return secure.DialContext(ctx, network, address)
	}
}

// trusted returns nil, which means the host's own authorities, unless folder has more. Unusable
// files are skipped: the sink is then not trusted, and the log says so.
func trusted(folder string) *x509.CertPool {
	files, _ := filepath.Glob(filepath.Join(folder, "[^.]*")) // fails for a malformed pattern alone
	if len(files) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // the image has none
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			pool.AppendCertsFromPEM(text)
		}
	}
	return pool
}

// contextAttributes are the specification's own, which no override may touch.
var contextAttributes = []string{"id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema", "data"}

// parseOverrides reads K_CE_OVERRIDES as Knative's SinkBinding writes it:
// {"extensions":{"name":"value"}}. Other members are ignored.
func parseOverrides(text string) (map[string]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var overrides struct {
		Extensions map[string]string `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(text), &overrides); err != nil {
		return nil, fmt.Errorf(`K_CE_OVERRIDES must be JSON like {"extensions":{"name":"value"}}: %w`, err)
	}
	for _, name := range slices.Sorted(maps.Keys(overrides.Extensions)) {
		if problem := checkExtension(name, overrides.Extensions[name]); problem != "" {
			return nil, fmt.Errorf("K_CE_OVERRIDES: the extension %q %s", name, problem)
		}
	}
	return overrides.Extensions, nil
}

// checkExtension follows CloudEvents 1.0.2, section 3.1 (names) and section 3 (strings).
func checkExtension(name, value string) string {
	switch {
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "":
		return "must have a name of a-z and 0-9 alone"
	case slices.Contains(contextAttributes, name):
		return "has the name of an attribute that is not an extension"
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }):
		return "must have a value of UTF-8 without control characters"
	}
	return ""
}
