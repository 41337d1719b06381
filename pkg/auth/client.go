package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxIssuerBody = 1 << 20 // bytes of a discovery document or a key set
	maxRedirects  = 3
)

// clientFor returns the client for calls to an issuer: the configured one or, for the cluster's own
// issuer, one that the Kubernetes API server accepts.
func clientFor(issuer string, configured *http.Client) *http.Client {
	if configured != nil {
		return bounded(*configured)
	}
	if at, err := url.Parse(issuer); err == nil && isAPIServer(at.Hostname()) {
		return bounded(http.Client{Transport: clusterTransport{serviceAccount}})
	}
	return bounded(http.Client{Transport: oneShotTransport()})
}

// bounded limits how much an issuer may send, how long it may take, and where it may redirect.
func bounded(client http.Client) *http.Client {
	if client.Transport == nil {
		client.Transport = oneShotTransport()
	}
	client.Transport = boundedBodies{client.Transport}
	client.Timeout = fetchDeadline
	client.CheckRedirect = followSafely
	return &client
}

// oneShotTransport keeps no connection: two requests every few minutes are not worth the
// goroutines of an idle one.
func oneShotTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return transport
}

func followSafely(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("too many redirects")
	}
	if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("redirected from https to " + next.URL.Scheme)
	}
	return nil
}

// boundedBodies fails a read past maxIssuerBody, in go-oidc's code as in ours.
type boundedBodies struct{ next http.RoundTripper }

func (b boundedBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, maxIssuerBody)
	}
	return response, err
}

// serviceAccount is where Kubernetes mounts a pod's own identity.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// isAPIServer reports whether host is the Kubernetes API server's name inside a cluster. That is
// the issuer of Knative Eventing's sender tokens where no public issuer is set up.
func isAPIServer(host string) bool {
	return host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}

// clusterTransport calls the Kubernetes API server, whose certificate is signed by the cluster and
// which shows its keys to service accounts only. The account's token is sent only to a server with
// such a certificate. Both files are read for each request, since Kubernetes replaces them. Without
// them it is an ordinary transport.
type clusterTransport struct{ folder string }

func (c clusterTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	transport := oneShotTransport()
	authority, err := os.ReadFile(filepath.Join(c.folder, "ca.crt"))
	if err != nil {
		return transport.RoundTrip(r)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	token, err := os.ReadFile(filepath.Join(c.folder, "token"))
	if err == nil && r.URL.Scheme == "https" {
		r = r.Clone(r.Context()) // a RoundTripper must leave the request as it is
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	return transport.RoundTrip(r)
}
