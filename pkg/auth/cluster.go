package auth

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// serviceAccount is where Kubernetes mounts a pod's own identity.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// isAPIServer tells whether an issuer is the Kubernetes API server by its name inside a
// cluster, as it is for Knative Eventing's sender tokens where no public issuer is set up.
func isAPIServer(host string) bool {
	return host == "kubernetes.default.svc" || strings.HasPrefix(host, "kubernetes.default.svc.")
}

// clusterTransport reaches the Kubernetes API server, whose certificate is the cluster's
// own and which shows its keys to service accounts only. The account's token goes to no
// server but one with a certificate of the cluster. Both files are read for each request,
// since Kubernetes replaces them; without them it is an ordinary transport.
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
