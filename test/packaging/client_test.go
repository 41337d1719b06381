package packaging_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// client sends requests with the test's token.
type client struct {
	t   testing.TB
	url string
}

func (c client) on(t testing.TB) client { return client{t, c.url} }

// wide keeps a connection for each of 500 requests: the default keeps two, and the rest
// would measure the opening of connections.
var wide = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 500}}

// want sends a request and fails unless it is answered with status. A header is
// "Name: value".
func (c client) want(method, path, body string, status int, headers ...string) (http.Header, string) {
	c.t.Helper()
	answer, text, err := c.send(method, path, body, headers...)
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
		return http.Header{}, ""
	}
	if answer.StatusCode != status {
		c.t.Errorf("%s %s: %d, want %d: %.300s", method, path, answer.StatusCode, status, text)
	}
	return answer.Header, text
}

func (c client) send(method, path, body string, headers ...string) (*http.Response, string, error) {
	request, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	answer, err := wide.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, string(text), err
}

// field returns a string member of a JSON object.
func (c client) field(text, name string) string {
	c.t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		c.t.Fatalf("%v: %.200s", err, text)
	}
	value, _ := object[name].(string)
	return value
}
