package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const referencePath = "/ai/admin/docs"

// TestReferenceShowsEveryOperation holds the page against the document, and its links against its anchors.
func TestReferenceShowsEveryOperation(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{}, func(o *Options) { o.Version = "v1.2.3" })
	w := ask(a, http.MethodGet, referencePath)
	page := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	var document struct {
		Paths      map[string]map[string]yaml.Node
		Components map[string]map[string]any
	}
	if err := yaml.Unmarshal(openAPIDocument, &document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method := range methods {
			if heading := "<code>" + strings.ToUpper(method) + " " + path + "</code>"; method != "parameters" && !strings.Contains(page, heading) {
				t.Errorf("the page lacks %s", heading)
			}
		}
	}
	anchors := map[string]bool{}
	for _, id := range regexp.MustCompile(`id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if anchors[id[1]] {
			t.Errorf("two elements have the id %s", id[1])
		}
		anchors[id[1]] = true
	}
	for _, link := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !anchors[link[1]] {
			t.Errorf("#%s leads nowhere", link[1])
		}
	}
	for name := range document.Components["schemas"] {
		if !anchors["schema-"+name] {
			t.Errorf("the page lacks the schema %s", name)
		}
	}
	for _, text := range []string{"v1.2.3", "keys:write", "Ada Lovelace", "VALIDATION_ERROR", "INVALID_KEY", "metadata.team=research"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	if found := regexp.MustCompile(`<script|map\[|&lt;nil&gt;|no value|ZgotmplZ|(?:src|href)="(?:[a-z]+:)?//`).FindString(page); found != "" {
		t.Errorf("the page has %q in it", found)
	}
}

// TestReferenceIsCachedAndConfined: the policy allows the page's own style sheet alone, and an unchanged page
// is not sent again.
func TestReferenceIsCachedAndConfined(t *testing.T) {
	t.Parallel()
	a, _ := service(t, fake{}, nil)
	w := ask(a, http.MethodGet, referencePath)
	_, rest, _ := strings.Cut(w.Body.String(), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := w.Header().Get("Content-Security-Policy")
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; style == "" || !strings.Contains(policy, want) ||
		!strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q, and should have %s", policy, want)
	}
	tag := w.Header().Get("ETag")
	for given, status := range map[string]int{tag: 304, "W/" + tag: 304, "*": 304, `"another"`: 200} {
		again := ask(a, http.MethodGet, referencePath, "If-None-Match", given)
		if again.Code != status || status == 304 && (again.Body.Len() > 0 || again.Header().Get("ETag") != tag) {
			t.Errorf("If-None-Match %s: %d, want %d", given, again.Code, status)
		}
	}
	other, _ := service(t, fake{}, func(o *Options) { o.Version = "v2" })
	if ask(other, http.MethodGet, referencePath).Header().Get("ETag") == tag {
		t.Error("the page of another version has the same entity tag")
	}
}
