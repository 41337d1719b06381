package auth

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oneKey is a set with the public P-256 key of RFC 7517 appendix A.1.
const oneKey = `{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`

// apiServer shows its keys, at jwks or by default its own place, to one account only.
func apiServer(t *testing.T, jwks string) *httptest.Server {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the-account" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.URL.Path == "/openid/v1/jwks" {
			_, _ = fmt.Fprint(w, oneKey)
			return
		}
		if jwks == "" {
			jwks = server.URL + "/openid/v1/jwks"
		}
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, server.URL, jwks)
	}))
	t.Cleanup(server.Close)
	return server
}

func account(t *testing.T, server *httptest.Server) string {
	t.Helper()
	folder := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string]string{"ca.crt": string(authority), "token": "the-account\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestClusterTransport(t *testing.T) {
	t.Parallel()
	server := apiServer(t, "")
	client := bounded(http.Client{Transport: clusterTransport{account(t, server)}})
	if keys, err := fetchKeys(t.Context(), client, server.URL); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if _, err := fetchKeys(t.Context(), bounded(http.Client{Transport: clusterTransport{t.TempDir()}}), server.URL); err == nil {
		t.Error("without the account's files a certificate of nobody's was trusted")
	}
}

func TestAccountTokenStaysInTheCluster(t *testing.T) {
	t.Parallel()
	var got string
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	t.Cleanup(plain.Close)
	client := bounded(http.Client{Transport: clusterTransport{account(t, apiServer(t, ""))}})
	response, err := client.Get(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got != "" {
		t.Error("the account's token was sent in plain text")
	}
}

func TestKeysStayOnHTTPS(t *testing.T) {
	t.Parallel()
	server := apiServer(t, "http://127.0.0.1:1/keys")
	client := bounded(http.Client{Transport: clusterTransport{account(t, server)}})
	if _, err := fetchKeys(t.Context(), client, server.URL); err == nil || !strings.Contains(err.Error(), "https jwks_uri") {
		t.Errorf("keys over http: %v", err)
	}
	down := httptest.NewTLSServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	t.Cleanup(down.Close)
	if _, err := fetchKeys(t.Context(), bounded(*down.Client()), down.URL); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("a redirect to http: %v", err)
	}
}

func TestClientFor(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]bool{
		"https://kubernetes.default.svc":               true,
		"https://kubernetes.default.svc.cluster.local": true,
		"https://kubernetes.default.svc:443/x":         true,
		"https://kubernetes.default.svcx.example.com":  false,
		"https://id.example.com":                       false,
	} {
		transport := clientFor(issuer, nil).Transport.(boundedBodies).next
		if _, inside := transport.(clusterTransport); inside != want {
			t.Errorf("%s: %T", issuer, transport)
		}
	}
	own := &http.Client{Transport: http.NewFileTransport(http.Dir("."))}
	if clientFor("https://kubernetes.default.svc", own).Transport.(boundedBodies).next != own.Transport {
		t.Error("the configured client was not used")
	}
}
