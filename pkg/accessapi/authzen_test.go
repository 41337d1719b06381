package accessapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"aiadmin/pkg/access"
	"aiadmin/pkg/user"
)

const (
	evaluation  = "/access/v1/evaluation"
	evaluations = "/access/v1/evaluations"
)

func (g *rig) evaluate(t testing.TB, path, token, body string) reply {
	t.Helper()
	return g.ask(t, http.MethodPost, path, body, "Authorization: Bearer "+token, "Content-Type: application/json", "X-Request-ID: <any \"thing\">")
}

// question writes an evaluation of a subject that uses gpt-5.
func question(subject string) string {
	return `{"subject":` + subject + `,"action":{"name":"use"},"resource":{"type":"model","id":"gpt-5"}}`
}

type decided struct {
	Decision bool
	Context  struct {
		Reason     *struct{ Code, Message string }
		Error      *struct{ Status int }
		User       struct{ ID, Tag, Role string }
		Key        *struct{ ID string }
		Limits     map[string]any
		Version    int
		Credential *struct{ Provider, Secret string }
	}
}

// code is what was decided, in a word.
func (d decided) code() string {
	switch {
	case d.Decision:
		return "allowed"
	case d.Context.Reason != nil && d.Context.Reason.Message != "":
		return d.Context.Reason.Code
	case d.Context.Error != nil:
		return fmt.Sprint(d.Context.Error.Status)
	}
	return "nothing"
}

func (got reply) decision(t testing.TB) (d decided) {
	t.Helper()
	if err := json.Unmarshal([]byte(got.body), &d); err != nil || got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" ||
		got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Request-ID") != `<any "thing">` {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	return d
}

func TestEvaluationSubjects(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	s, k, key := g.user("ada")
	parsed, _ := access.ParseSecret(key)
	unknown := access.NewSecret()
	for subject, want := range map[string]string{
		`{"type":"user","id":"` + s.ID.String() + `"}`:                                                   "allowed",
		`{"type":"user","id":"` + strings.ToUpper(s.ID.String()) + `","properties":{"tag":"eve"}}`:       "allowed",
		`{"type":"user","properties":{"tag":"ada","department":{"x":[1]}},"more":true}`:                  "allowed",
		`{"type":"user","id":"ada","properties":{"email":"ada+ai@example.com"}}`:                         "allowed",
		fmt.Sprintf(`{"type":"key","id":"sha256:%x"}`, parsed.Hash()):                                    "allowed",
		`{"type":"key","properties":{"secret":"` + key + `"}}`:                                           "allowed",
		`{"type":"key","id":"any","properties":{"secret":"` + key + `"}}`:                                "allowed",
		`{"type":"user","id":"ada"}`:                                                                     "UNKNOWN_SUBJECT",
		`{"type":"user","id":"0198a000-0000-7000-8000-000000000000"}`:                                    "UNKNOWN_SUBJECT",
		`{"type":"user","properties":{"tag":"bob"}}`:                                                     "UNKNOWN_SUBJECT",
		`{"type":"user","properties":{"tag":""}}`:                                                        "UNKNOWN_SUBJECT",
		fmt.Sprintf(`{"type":"key","id":"sha256:%x"}`, unknown.Hash()):                                   "INVALID_KEY",
		`{"type":"key","id":"sha256:12"}`:                                                                "INVALID_KEY",
		`{"type":"key","properties":{"secret":"` + unknown.Text().Reveal() + `"}}`:                       "INVALID_KEY",
		fmt.Sprintf(`{"type":"key","id":"sha256:%x","properties":{"secret":"`+key+`"}}`, parsed.Hash()):  "allowed",
		fmt.Sprintf(`{"type":"key","id":"sha256:%x","properties":{"secret":"`+key+`"}}`, unknown.Hash()): "INVALID_KEY",
		`{"type":"key","properties":{"secret":"aik_x"}}`:                                                 "INVALID_KEY",
		`{"type":"user"}`: "400", `{"type":"key"}`: "400", `{"type":"group","id":"x"}`: "400", `{"id":"x"}`: "400", `"ada"`: "400", `null`: "400",
		`{"type":"user","id":5}`: "400", `{"type":"user","properties":{"tag":"ada","email":"a@b.c"}}`: "400", `{"type":"user","properties":[]}`: "400",
		`{"type":"user","type":"key","id":"x"}`: "400", `{"Type":"user","id":"x"}`: "400",
	} {
		got := g.evaluate(t, evaluation, g.token, question(subject))
		if want == "400" {
			got.misfit(t, subject)
		} else if d := got.decision(t); d.code() != want {
			t.Errorf("%s: %s, want %s", subject, got.body, want)
		} else if d.Decision && (d.Context.User.ID != s.ID.String() || d.Context.User.Tag != "ada" || d.Context.Version != 7 ||
			d.Context.Key != nil != strings.Contains(subject, `"key"`) || d.Context.Key != nil && d.Context.Key.ID != k.ID.String()) {
			t.Errorf("%s: %s", subject, got.body)
		}
		list := g.evaluate(t, evaluations, g.token, `{"evaluations":[`+question(subject)+`]}`)
		if subject == `{"type":"user","type":"key","id":"x"}` {
			continue // duplicates are found before elements are
		}
		if codes := list.codes(t); fmt.Sprint(codes) != "["+want+"]" {
			t.Errorf("%s in a list: %s, want %s", subject, list.body, want)
		}
	}
}

// misfit judges a 400: the message in plain text, with the request's identifier.
func (got reply) misfit(t testing.TB, what string) {
	t.Helper()
	if got.status != http.StatusBadRequest || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") ||
		len(got.body) < 10 || len(got.body) > 300 || got.header.Get("X-Request-ID") != `<any "thing">` {
		t.Errorf("%s: %d %v %s", what, got.status, got.header, got.body)
	}
}

func (got reply) codes(t testing.TB) (codes []string) {
	t.Helper()
	got.decision(t)
	var list struct{ Evaluations []decided }
	if err := json.Unmarshal([]byte(got.body), &list); err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Evaluations {
		codes = append(codes, d.code())
	}
	return codes
}

func TestEvaluationsThatDoNotFit(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	g.user("ada")
	ada := `"subject":{"type":"user","properties":{"tag":"ada"}}`
	use, model := `"action":{"name":"use"}`, `"resource":{"type":"model","id":"m"}`
	for _, body := range []string{"", "null", "[]", `"x"`, "{", "{}", `{"evaluations":[]}`, "\xff", `{` + ada + `}`, `{` + ada + `,` + use + `}`, `{` + use + `,` + model + `}`,
		`{` + ada + `,"action":{"name":"can_read"},` + model + `}`, `{` + ada + `,"action":{},` + model + `}`, `{` + ada + `,"action":"use",` + model + `}`,
		`{` + ada + `,` + use + `,"resource":{"type":"document","id":"m"}}`, `{` + ada + `,` + use + `,"resource":{"type":"model"}}`, `{` + ada + `,` + use + `,"resource":{"type":"model","id":7}}`,
		`{` + ada + `,` + use + `,` + model + `,"context":[]}`, `{` + ada + `,` + use + `,` + model + `,"context":{"reveal":true}}`, `{` + ada + `,` + ada + `,` + use + `,` + model + `}`,
		`{` + ada + `,` + use + `,` + model + `} x`, `{"evaluations":{}}`, `{"evaluations":[{}],"options":{"evaluations_semantic":"any"}}`, `{"evaluations":[{}],"options":[]}`,
		`{"evaluations":[` + strings.Repeat("{},", 1000) + `{}]}`, `{"` + strings.Repeat("x", 100_000) + `":{"a":1,"a":2}}`, `{"subject":` + strings.Repeat("[", 200_000)} {
		g.evaluate(t, evaluations, g.token, body).misfit(t, body[:min(len(body), 80)])
	}
	g.ask(t, http.MethodPost, evaluation, question(`{"type":"user","properties":{"tag":"ada"}}`), "Authorization: Bearer "+g.token, `X-Request-ID: <any "thing">`).misfit(t, "no Content-Type")
	if got := g.evaluate(t, evaluation, g.token, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("over 1 MiB: %d", got.status)
	}
	if got := g.ask(t, http.MethodGet, evaluation, "", "Authorization: Bearer "+g.token); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", got.status, got.header)
	}
	for token, status := range map[string]int{"": 401, "aia_wrong": 401, g.reader: 403} {
		if got := g.evaluate(t, evaluation, token, "{}"); got.status != status || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
			t.Errorf("token %q: %d %v %s", token, got.status, got.header, got.body)
		}
	}
	if got := g.ask(t, http.MethodPost, evaluation, "{}", "Authorization: Bearer "+g.token, "Authorization: Bearer "+g.token); got.status != http.StatusUnauthorized {
		t.Errorf("two tokens: %d", got.status)
	}
}

func TestEvaluationsTakeDefaults(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	s, _, _ := g.user("ada")
	s.Models = access.Models{"gpt-*"}
	eve, _, _ := g.user("eve")
	eve.Status = user.Suspended
	model := func(id string) string { return `{"resource":{"type":"model","id":"` + id + `"}}` }
	defaults := `{"subject":{"type":"user","properties":{"tag":"ada"}},"action":{"name":"use"},"context":{"x":1},"evaluations":[`
	for body, want := range map[string][]string{
		defaults + model("gpt-5") + `,` + model("claude") + `,` + model("*") + `]}`:                                                                                            {"allowed", "MODEL_NOT_ALLOWED", "allowed"},
		defaults + model("gpt-5") + `,{},` + model("gpt-4") + `]}`:                                                                                                             {"allowed", "400", "allowed"},
		defaults + `{"subject":{"type":"user","properties":{"tag":"eve"}},"resource":{"type":"model","id":"x"}}]}`:                                                             {"SUSPENDED"},
		defaults + `{"subject":null,"resource":{"type":"model","id":"x"}},5]}`:                                                                                                 {"400", "400"},
		defaults + model("gpt-5") + `,` + model("a") + `,` + model("gpt-4") + `],"options":{"evaluations_semantic":"execute_all"}}`:                                            {"allowed", "MODEL_NOT_ALLOWED", "allowed"},
		defaults + model("gpt-5") + `,` + model("a") + `,` + model("gpt-4") + `],"options":{"evaluations_semantic":"deny_on_first_deny"}}`:                                     {"allowed", "MODEL_NOT_ALLOWED"},
		defaults + model("b") + `,` + model("gpt-5") + `,` + model("gpt-4") + `],"options":{"evaluations_semantic":"permit_on_first_permit"}}`:                                 {"MODEL_NOT_ALLOWED", "allowed"},
		defaults + model("gpt-5") + `,{},` + model("gpt-4") + `],"options":{"evaluations_semantic":"deny_on_first_deny"}}`:                                                     {"allowed", "400"},
		defaults + `{},` + model("gpt-5") + `,` + model("gpt-4") + `],"options":{"evaluations_semantic":"permit_on_first_permit"}}`:                                            {"400", "allowed"},
		defaults + `{"subject":{"type":"key","id":"x"},"resource":{"type":"model","id":"x"}},` + model("gpt-4") + `],"options":{"evaluations_semantic":"deny_on_first_deny"}}`: {"INVALID_KEY"},
	} {
		if got := g.evaluate(t, evaluations, g.token, body).codes(t); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
	// Without evaluations, it is the request of one.
	if got := g.evaluate(t, evaluations, g.token, `{"evaluations":[],`+question(`{"type":"user","properties":{"tag":"ada"}}`)[1:]).decision(t); !got.Decision {
		t.Error("an empty list is not one evaluation")
	}
	many := strings.Repeat(model("gpt-5")+",", 999) + model("gpt-5")
	if got := g.evaluate(t, evaluations, g.token, defaults+many+"]}").codes(t); len(got) != 1000 || slices.Contains(got, "MODEL_NOT_ALLOWED") {
		t.Errorf("of 1,000: %d answers", len(got))
	}
}

func TestEvaluationReveals(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	s, _, _ := g.user("ada")
	tokens, budget := int64(9), user.Cents(5)
	s.Limits = user.Limits{TokensPerMinute: &tokens, MonthlyBudgetUSD: &budget}
	g.credentials["ada pem"] = "-----BEGIN\nKEY-----"
	reveal := func(provider string) string {
		return strings.TrimSuffix(question(`{"type":"user","properties":{"tag":"ada"}}`), "}") + `,"context":{"reveal":"` + provider + `"}}`
	}
	got := g.evaluate(t, evaluation, g.token, reveal("pem"))
	if c := got.decision(t).Context.Credential; c == nil || c.Secret != "-----BEGIN\nKEY-----" || c.Provider != "pem" {
		t.Errorf("JSON carries any secret: %s", got.body)
	}
	if !strings.Contains(got.body, `"limits":{"requestsPerMinute":null,"tokensPerMinute":9,"monthlyBudgetUSD":0.05}`) || !strings.Contains(got.body, `"key":null`) {
		t.Errorf("limits, key: %s", got.body)
	}
	if got := g.evaluate(t, evaluation, g.token, reveal("azure")).decision(t); got.code() != "NO_CREDENTIAL" {
		t.Errorf("none held: %v", got)
	}
	for _, body := range []string{reveal("pem"), reveal("azure")} {
		if got := g.evaluate(t, evaluation, g.plain, body).decision(t); !got.Decision || got.Context.Credential != nil {
			t.Errorf("without the scope: %v", got)
		}
	}
	g.away = user.Errorf(user.Unavailable, "the database cannot be reached")
	if got := g.evaluate(t, evaluation, g.token, reveal("pem")); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("away: %d %v", got.status, got.header)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	for forwarded, base := range map[string]string{"X-Forwarded-Proto: https": "https" + strings.TrimPrefix(g.url, "http"), "X-Forwarded-Proto: https, http": "https" + strings.TrimPrefix(g.url, "http"), "X-Other: x": g.url, "X-Forwarded-Proto: ftp": g.url} {
		got := g.ask(t, http.MethodGet, "/.well-known/authzen-configuration", "", forwarded, "X-Request-ID: 7")
		want := `{"policy_decision_point":"` + base + `","access_evaluation_endpoint":"` + base + evaluation + `","access_evaluations_endpoint":"` + base + evaluations + `"}`
		if got.status != http.StatusOK || got.body != want || got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Request-ID") != "7" {
			t.Errorf("%s: %d %v %s", forwarded, got.status, got.header, got.body)
		}
	}
	if got := g.ask(t, http.MethodPost, "/.well-known/authzen-configuration", ""); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.status)
	}
}
