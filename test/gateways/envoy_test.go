package gateways

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestAsEnvoyAsks plays Envoy's ext_authz over HTTP: the original method, the path prefix with the original
// path and query behind it, the headers that envoy.yaml lets through, and the body. Exactly 200 allows, and
// no answer may be a redirect, which Envoy would hand to the end user.
func TestAsEnvoyAsks(t *testing.T) {
	t.Parallel()
	s := newService(t)
	all, listed := s.user(t, nil), s.user(t, map[string]any{"models": []string{"gpt-*"}})
	prefix, allowed := extAuthz(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	for _, test := range []struct {
		method, path, body string
		headers            map[string]string
		status             int
		model              string // of the answer
	}{
		{"POST", "/v1/chat/completions", `{"model":"gpt-5"}`, map[string]string{"authorization": "Bearer " + listed.key}, 200, "gpt-5"},
		{"POST", "//v1/x", `{"model":"gpt-5"}`, map[string]string{"x-api-key": listed.key}, 200, "gpt-5"},
		{"POST", "/v1/../x?a=%zz;b", `{"model":"gpt-5"}`, map[string]string{"x-api-key": listed.key}, 200, "gpt-5"},
		{"POST", "/v1/%2e%2e/x%2f", `{"model":"gpt-5"}`, map[string]string{"x-api-key": listed.key}, 200, "gpt-5"},
		{"POST", "/v1/x", `{"model":"claude"}`, map[string]string{"x-api-key": listed.key}, 403, ""},
		{"POST", "/v1/x", `{"model":"gpt-5"}`, map[string]string{"x-api-key": listed.key, "x-envoy-auth-partial-body": "true"}, 403, ""},
		{"POST", "/v1/x", `{"model":"gpt-5"}`, map[string]string{"x-api-key": listed.key, "x-ai-eg-model": "claude"}, 403, ""},
		{"GET", "/v1/models", "", map[string]string{"x-api-key": listed.key, "x-ai-model": "*"}, 200, "*"},
		{"GET", "/v1/files", "", map[string]string{"x-api-key": listed.key}, 403, ""},
		{"GET", "/v1/files", "", map[string]string{"x-api-key": all.key}, 200, "unknown"},
		{"DELETE", "/v1/files/1", "", map[string]string{"x-api-key": all.key}, 200, "unknown"},
		{"OPTIONS", "/v1/x", "", map[string]string{"x-api-key": all.key}, 200, "unknown"},
		{"POST", "/v1/x", `{"model":"gpt-5"}`, map[string]string{"x-api-key": "aik_wrong"}, 401, ""},
		{"POST", "/v1/x", strings.Repeat(" ", 2<<20) + `{"model":"gpt-5"}`, map[string]string{"x-api-key": listed.key}, 200, "gpt-5"},
	} {
		r, err := http.NewRequest(test.method, "http://"+s.address+"/", bytes.NewReader([]byte(test.body)))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = prefix + test.path // as it is: nothing on the way cleans it
		r.Header.Set("x-ai-gateway-token", s.token)
		for name, value := range test.headers {
			r.Header.Set(name, value)
		}
		got, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(got.Body)
		_ = got.Body.Close()
		if got.StatusCode != test.status || got.Header.Get("X-AI-Model") != test.model {
			t.Errorf("%s %s %v: %d %q %s, want %d %q", test.method, test.path, test.headers, got.StatusCode, got.Header.Get("X-AI-Model"), text, test.status, test.model)
		}
		if test.status == http.StatusOK {
			for name := range got.Header {
				if strings.HasPrefix(name, "X-Ai-") && !strings.HasPrefix(strings.ToLower(name), allowed) {
					t.Errorf("envoy.yaml does not pass %s on", name)
				}
			}
		}
	}
}

// extAuthz reads what envoy.yaml says: the path's prefix, and the prefix of the headers that go to the provider.
func extAuthz(t *testing.T) (path, headers string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(configs, "envoy", "envoy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"${LISTEN_PORT}", "${AI_ADMIN_PORT}", "${PROVIDER_PORT}"} {
		text = bytes.ReplaceAll(text, []byte(port), []byte("1"))
	}
	var document struct {
		StaticResources struct {
			Listeners []struct {
				FilterChains []struct {
					Filters []struct {
						TypedConfig struct {
							HTTPFilters []struct {
								TypedConfig struct {
									FailureModeAllow *bool `yaml:"failure_mode_allow"`
									HTTPService      *struct {
										PathPrefix           string `yaml:"path_prefix"`
										AuthorizationRequest struct {
											AllowedHeaders struct {
												Patterns []struct{ Exact string }
											} `yaml:"allowed_headers"`
										} `yaml:"authorization_request"`
										AuthorizationResponse struct {
											AllowedUpstreamHeaders struct {
												Patterns []struct{ Prefix string }
											} `yaml:"allowed_upstream_headers"`
										} `yaml:"authorization_response"`
									} `yaml:"http_service"`
								} `yaml:"typed_config"`
							} `yaml:"http_filters"`
						} `yaml:"typed_config"`
					}
				} `yaml:"filter_chains"`
			}
		} `yaml:"static_resources"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, filter := range document.StaticResources.Listeners[0].FilterChains[0].Filters[0].TypedConfig.HTTPFilters {
		if c := filter.TypedConfig; c.HTTPService != nil {
			if c.FailureModeAllow == nil || *c.FailureModeAllow {
				t.Error("envoy.yaml fails open")
			}
			if !slices.Contains(c.HTTPService.AuthorizationRequest.AllowedHeaders.Patterns, struct{ Exact string }{"content-type"}) {
				t.Error("envoy.yaml does not say how the body is to be read")
			}
			return c.HTTPService.PathPrefix, c.HTTPService.AuthorizationResponse.AllowedUpstreamHeaders.Patterns[0].Prefix
		}
	}
	t.Fatal("envoy.yaml has no check over HTTP")
	return "", ""
}
