package outbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"time"
)

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

// trusted is nil, which stands for the host's own authorities, unless folder has more. A
// file that cannot be used counts for nothing: the sink is then not trusted, and the log says so.
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
