package relay

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"aiadmin/pkg/user"
)

// TestSinkIsTrustedByTheMountedAuthorities goes from no bundle to one that does not help and one
// that does, while the same sink is in use, in both versions of HTTP.
func TestSinkIsTrustedByTheMountedAuthorities(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got <- r.Proto
				w.WriteHeader(http.StatusAccepted)
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.StartTLS()
			t.Cleanup(server.Close)
			folder := t.TempDir()
			s, err := newSink(Options{Sink: server.URL, TrustFolder: folder})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.client.CloseIdleConnections)
			bundle := func(name string, text []byte) {
				if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			untrusted := func(when string) {
				if a := s.send(t.Context(), user.Event{}); a.fault != "has a certificate that is not trusted" {
					t.Errorf("%s: %+v", when, a)
				}
			}
			authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			untrusted("no bundle")
			bundle("broken.pem", []byte("-----BEGIN CERTIFICATE-----\nplanted"))
			untrusted("a broken one")
			bundle("..data", authority)
			untrusted("Kubernetes' own files are none")
			bundle("ca.crt", append([]byte("# of the cluster\n"), authority...))
			if a := s.send(t.Context(), user.Event{}); a.err != nil {
				t.Fatalf("%+v", a)
			}
			if proto := <-got; proto != protocol {
				t.Errorf("sent by %s", proto)
			}
		})
	}
}
