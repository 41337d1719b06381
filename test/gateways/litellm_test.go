package gateways

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAsLiteLLMAsks runs the example's custom_auth in a program that plays LiteLLM's proxy, with the real FastAPI.
func TestAsLiteLLMAsks(t *testing.T) {
	t.Parallel()
	find(t, "uvicorn")
	s := &setup{service: newService(t), client: &http.Client{}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.gateway = gateway{name: "LiteLLM", program: "uvicorn", folder: "litellm", start: litellm}
	s.address = s.run(t, s.service.address, "127.0.0.1:1", s.service.token).address
	limited := s.service.user(t, map[string]any{"models": []string{"gpt-*"}, "limits": map[string]any{"requestsPerMinute": 60}})
	all := s.service.user(t, nil)
	suspended := s.service.user(t, map[string]any{"status": "suspended"})

	got := s.chat(t, limited, `{"model":"gpt-5"}`, "X-AI-Model: *", "X-AI-Subject: id:"+all.id)
	var told struct {
		UserID   string `json:"user_id"`
		RPM      *int   `json:"rpm_limit"`
		TPM      *int   `json:"tpm_limit"`
		Metadata map[string]string
		Body     string
	}
	if err := json.Unmarshal(got.body, &told); err != nil || got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if told.UserID != limited.id || told.RPM == nil || *told.RPM != 60 || told.TPM != nil || told.Metadata["role"] != "member" || told.Body != `{"model":"gpt-5"}` {
		t.Errorf("LiteLLM is told %+v", told)
	}

	const json, chat = "Content-Type: application/json", "/v1/chat/completions"
	for _, test := range []struct {
		method, path, body, contentType string
		person                          person
		status                          int
	}{
		{"POST", "/chat/completions", `{"model":"gpt-5"}`, json, limited, 200},
		{"POST", "/v1/messages", `{"model":"gpt-5"}`, json, limited, 200},
		{"GET", "/v1/models", "", json, limited, 200},
		{"POST", chat, `{"model":"gpt-5"}`, json, person{key: "aik_wrong"}, 401},
		{"POST", chat, `{"model":"gpt-5"}`, json, suspended, 403},
		{"POST", chat, `{"model":"claude"}`, json, limited, 403},
		{"POST", chat, `{}`, json, limited, 403},
		{"POST", chat, `{"model":"gpt-5","model":"claude"}`, json, limited, 403},
		{"POST", chat, `{"model":"claude,gpt-5"}`, json, all, 403},
		{"POST", chat, `{"model":"gpt-5,claude"}`, json, limited, 403}, // gpt-* allows it: LiteLLM asks both
		{"POST", chat, `{"model":"gpt-5","fallbacks":["claude"]}`, json, limited, 403},
		{"POST", chat, `{"model":"gpt-5","user_config":{"model_list":[]}}`, json, all, 403},
		{"POST", chat, `{"model":"gpt-5","extra_body":{"model":"claude"}}`, json, limited, 403},
		{"POST", chat, `{"model":"gpt-5","mock_testing_fallbacks":true}`, json, limited, 403},
		{"POST", chat, `{"model":"gpt-5","api_base":"http://elsewhere"}`, json, all, 403},
		{"POST", chat, `model=claude`, "Content-Type: application/x-www-form-urlencoded", all, 415},
		{"POST", chat, `{"model":"gpt-5","x":"&model=claude&"}`, "Content-Type: application/x-www-FORM-urlencoded", limited, 415},
		{"POST", "/v1/embeddings?model=claude", `{"model":"gpt-5"}`, json, limited, 400},
		{"POST", chat, `["gpt-5"]`, json, all, 400},
		{"POST", chat, `{"model":`, json, all, 400},
		{"POST", chat, strings.Repeat("[", 100_000), json, all, 400},
		{"POST", "/openai/deployments/claude/chat/completions", `{"model":"gpt-5"}`, json, limited, 403},
		{"POST", "/v1/v1/chat/completions", `{"model":"gpt-5"}`, json, limited, 403},
		{"POST", "/key/generate", `{"model":"gpt-5"}`, json, all, 403}, // LiteLLM's administration
		{"GET", "/key/list", "", json, all, 403},
		{"DELETE", "/v1/models", "", json, all, 403},
		{"GET", chat, "", json, all, 403},
	} {
		got := s.send(t, test.method, test.path, test.body, "Authorization: Bearer "+test.person.key, test.contentType)
		if got.status != test.status {
			t.Errorf("%s %s %.80s: %d %s, want %d", test.method, test.path, test.body, got.status, got.body, test.status)
		}
		if strings.Contains(fmt.Sprint(got.header, string(got.body)), test.person.key) {
			t.Errorf("%s %s: the answer has the key in it: %v %s", test.method, test.path, got.header, got.body)
		}
	}

	s.service.stopDatabase(t)
	if got := s.chat(t, all, `{"model":"gpt-5"}`); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("with the database away: %d %v %s", got.status, got.header, got.body)
	}
}

// litellm puts the program that plays LiteLLM beside the example.
func litellm(t *testing.T, dir, address string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/litellm.py")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "proxy.py"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(address, ":")
	return []string{"proxy:app", "--app-dir", dir, "--host", host, "--port", port}
}
