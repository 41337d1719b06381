package access

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"aiadmin/pkg/access"
	"aiadmin/test/pgtest"
)

// caller is who asks in a case of the table: by a key's secret, or by a subject.
type caller struct{ secret, subject string }

// forward asks by forward authorization, and returns "" or the reason.
func (s *service) forward(t testing.TB, c caller, model, provider string) string {
	t.Helper()
	headers := []string{"X-AI-Gateway-Token: " + tokens.gateway}
	if model != "" {
		headers = append(headers, "X-AI-Model: "+model)
	}
	if c.secret != "" {
		headers = append(headers, "x-goog-api-key: "+c.secret)
	} else {
		headers = append(headers, "X-AI-Subject: "+url.PathEscape(c.subject))
	}
	return s.send(t, http.MethodGet, "/ai/admin/authorize/"+url.PathEscape(provider), "", headers...).reason(t)
}

// authzen asks by an AuthZEN evaluation.
func (s *service) authzen(t testing.TB, c caller, model, provider string) string {
	t.Helper()
	subject := map[string]any{"type": "key", "properties": map[string]string{"secret": c.secret}}
	if c.secret == "" {
		field, value, _ := strings.Cut(c.subject, ":")
		subject = map[string]any{"type": "user", "properties": map[string]string{field: value}}
		if field == "id" {
			subject = map[string]any{"type": "user", "id": value}
		}
	}
	request := map[string]any{"subject": subject, "action": map[string]string{"name": "use"}, "resource": map[string]string{"type": "model", "id": model}}
	if provider != "_" {
		request["context"] = map[string]string{"reveal": provider}
	}
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var decision struct {
		Decision bool
		Context  struct{ Reason struct{ Code string } }
	}
	s.send(t, http.MethodPost, "/access/v1/evaluation", string(body), "Authorization: Bearer "+tokens.gateway, "Content-Type: application/json").into(t, http.StatusOK, &decision)
	if decision.Decision != (decision.Context.Reason.Code == "") {
		t.Errorf("decision %t for %q", decision.Decision, decision.Context.Reason.Code)
	}
	return decision.Context.Reason.Code
}

// TestTheDecisionTable asks each case of both faces, by key and by each form of subject.
func TestTheDecisionTable(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	const past, future = `"2020-01-01T00:00:00Z"`, `"2099-01-01T00:00:00Z"`
	for name, test := range map[string]struct {
		user, key, model, provider, want, withoutKey string // withoutKey: the reason of a subject, where it is another
	}{
		"all is well":          {model: "gpt-5"},
		"expires later":        {user: `"expiresAt":` + future, key: `"expiresAt":` + future, model: "gpt-5"},
		"suspended":            {user: `"status":"suspended"`, model: "gpt-5", want: "SUSPENDED"},
		"user expired":         {user: `"expiresAt":` + past, model: "gpt-5", want: "EXPIRED"},
		"suspended, expired":   {user: `"status":"suspended","expiresAt":` + past, model: "gpt-5", want: "SUSPENDED"},
		"key expired":          {key: `"expiresAt":` + past, model: "gpt-5", want: "INVALID_KEY", withoutKey: "allowed"},
		"suspended, bad key":   {user: `"status":"suspended"`, key: `"expiresAt":` + past, model: "gpt-5", want: "INVALID_KEY", withoutKey: "SUSPENDED"},
		"on the list":          {user: `"models":["claude","gpt-*"]`, model: "gpt-5"},
		"not on the list":      {user: `"models":["claude","gpt-*"]`, model: "o3", want: "MODEL_NOT_ALLOWED"},
		"nothing allowed":      {user: `"models":[]`, model: "gpt-5", want: "MODEL_NOT_ALLOWED"},
		"key narrows":          {key: `"models":["gpt-*"]`, model: "o3", want: "MODEL_NOT_ALLOWED", withoutKey: "allowed"},
		"key does not widen":   {user: `"models":["gpt-*"]`, key: `"models":["o3"]`, model: "o3", want: "MODEL_NOT_ALLOWED"},
		"any":                  {user: `"models":["gpt-*"]`, model: "*"},
		"any of nothing":       {user: `"models":[]`, model: "*", want: "MODEL_NOT_ALLOWED"},
		"any of both":          {user: `"models":["gpt-*"]`, key: `"models":["o3"]`, model: "*", want: "MODEL_NOT_ALLOWED", withoutKey: "allowed"},
		"unknown, all allowed": {model: ""},
		"unknown, a list":      {user: `"models":["gpt-*"]`, model: "", want: "MODEL_REQUIRED"},
		"limit 0":              {user: `"limits":{"monthlyBudgetUSD":0}`, model: "gpt-5", want: "LIMIT_ZERO"},
		"limit 0, wrong model": {user: `"limits":{"requestsPerMinute":0},"models":[]`, model: "gpt-5", want: "MODEL_NOT_ALLOWED"},
		"credential held":      {user: `"credentials":{"openai":"sk-planted"}`, model: "gpt-5", provider: "openai"},
		"no credential":        {user: `"credentials":{"openai":"sk-planted"}`, model: "gpt-5", provider: "azure", want: "NO_CREDENTIAL"},
		"no provider's name":   {model: "gpt-5", provider: "open\x00ai", want: "NO_CREDENTIAL"},
		"suspended, none held": {user: `"status":"suspended"`, model: "gpt-5", provider: "azure", want: "SUSPENDED"},
	} {
		tag := fmt.Sprintf("s%d", lastTag.Add(1))
		members := []string{fmt.Sprintf(`"email":"%s+AI@Example.com","userName":"U %s","externalId":"x/%s"`, tag, tag, tag)}
		if test.user != "" {
			members = append(members, test.user)
		}
		var keyMembers []string
		if test.key != "" {
			keyMembers = append(keyMembers, test.key)
		}
		p := s.user(t, members...)
		k := s.issue(t, p, keyMembers...)
		if test.provider == "" {
			test.provider = "_"
		}
		for _, c := range []caller{{secret: k.Secret}, {subject: "id:" + p.ID}, {subject: "tag:" + strings.ToUpper(p.Tag)}, {subject: "email:" + strings.ToUpper(tag) + "+ai@example.com"},
			{subject: "userName:u " + tag}, {subject: "externalId:x/" + tag}} {
			want := test.want
			if c.secret == "" && test.withoutKey != "" {
				want = strings.Replace(test.withoutKey, "allowed", "", 1)
			}
			if got := s.forward(t, c, test.model, test.provider); got != want {
				t.Errorf("%s, %v, forward: %q, want %q", name, c, got, want)
			}
			if got := s.authzen(t, c, test.model, test.provider); got != want {
				t.Errorf("%s, %v, AuthZEN: %q, want %q", name, c, got, want)
			}
		}
	}
	unknown := access.NewSecret().Text().Reveal()
	for _, ask := range []func(testing.TB, caller, string, string) string{s.forward, s.authzen} {
		if got := ask(t, caller{secret: unknown}, "m", "_"); got != "INVALID_KEY" {
			t.Errorf("an unknown key: %q", got)
		}
		if got := ask(t, caller{subject: "tag:nobody"}, "m", "_"); got != "UNKNOWN_SUBJECT" {
			t.Errorf("an unknown subject: %q", got)
		}
	}
}

// TestModelsMeanTheSame compares the check with the listing's ?model=, for thousands of patterns and
// names: whoever is found may use the model, and nobody else.
func TestModelsMeanTheSame(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "")
	r := rand.New(rand.NewPCG(7, 8))
	text := func(alphabet string, most int) string {
		letters, b := []rune(alphabet), strings.Builder{}
		for range 1 + r.IntN(most) {
			b.WriteRune(letters[r.IntN(len(letters))])
		}
		return b.String()
	}
	const people, patterns, names = 40, 100, 150 // 4,000 patterns
	lists := map[string]access.Models{}
	for range people {
		list := access.Models{}
		for range patterns {
			list = append(list, text(`ab/-é%_\A**??`, 7))
		}
		list = list[:1+r.IntN(4)*33]
		encoded, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		lists[s.user(t, `"models":`+string(encoded)).ID] = list
	}
	found, allowed := 0, 0
	for range names {
		name := text(`ab/-é%_\A`, 9)
		var page struct{ Users []person }
		s.do(t, http.MethodGet, users+"?limit=500&model="+url.QueryEscape(name), "").into(t, http.StatusOK, &page)
		for id, list := range lists {
			listed := slices.ContainsFunc(page.Users, func(p person) bool { return p.ID == id })
			if listed != list.Allow(name) {
				t.Fatalf("%q: listed %t, allowed %t by %q", name, listed, !listed, list)
			}
			allowed++
			if listed {
				found++
			}
		}
		for _, p := range page.Users[:min(len(page.Users), 3)] {
			if got := s.forward(t, caller{subject: "id:" + p.ID}, name, "_"); got != "" {
				t.Errorf("%q: listed and refused: %s", name, got)
			}
		}
	}
	if found < allowed/20 || found > allowed*19/20 {
		t.Errorf("%d of %d pairs matched: they say little", found, allowed)
	}
}

// taking are the ways to take away what a key may do.
var taking = []func(t testing.TB, s *service, k key){
	func(t testing.TB, s *service, k key) {
		s.do(t, http.MethodDelete, k.path(), "").into(t, http.StatusNoContent, nil)
	},
	func(t testing.TB, s *service, k key) { s.change(t, k.path(), `{"status":"disabled"}`) },
	func(t testing.TB, s *service, k key) { s.change(t, users+"/"+k.UserID, `{"status":"suspended"}`) },
	func(t testing.TB, s *service, k key) { s.change(t, users+"/"+k.UserID, `{"models":["other"]}`) },
	func(t testing.TB, s *service, k key) { s.change(t, k.path(), `{"models":["other"]}`) },
	func(t testing.TB, s *service, k key) {
		s.change(t, users+"/"+k.UserID, `{"expiresAt":"2020-01-01T00:00:00Z"}`)
	},
	func(t testing.TB, s *service, k key) {
		s.do(t, http.MethodDelete, users+"/"+k.UserID, "").into(t, http.StatusNoContent, nil)
	},
	func(t testing.TB, s *service, k key) {
		s.do(t, http.MethodPost, k.path()+"/rotate", `{"overlap":"0s"}`).into(t, http.StatusOK, nil)
	},
	func(t testing.TB, s *service, k key) {
		s.do(t, http.MethodDelete, users+"/"+k.UserID+"/keys", "").into(t, http.StatusOK, nil)
	},
}

// TestWhatIsRevokedIsRefused hammers one copy while keys are revoked, users suspended and lists narrowed
// through the other: no check that begins after a change was acknowledged is allowed. AI_ADMIN_TEST_CHECKS
// asks for that many checks.
func TestWhatIsRevokedIsRefused(t *testing.T) {
	t.Parallel()
	least, _ := strconv.ParseInt(os.Getenv("AI_ADMIN_TEST_CHECKS"), 10, 64)
	database := pgtest.Database(t)
	copies := []*service{start(t, database, ""), start(t, database, "")}
	var allowed, refused atomic.Int64
	for begun := true; begun || allowed.Load()+refused.Load() < least && !t.Failed(); begun = false {
		hammer(t, copies, &allowed, &refused)
	}
	t.Logf("%d allowed, %d refused", allowed.Load(), refused.Load())
	if allowed.Load() == 0 || refused.Load() == 0 {
		t.Error("the checks say little")
	}
}

// hammer checks keys through both copies while they are taken away, five in each way.
func hammer(t *testing.T, copies []*service, allowed, refused *atomic.Int64) {
	t.Helper()
	type target struct {
		key  key
		gone atomic.Bool // acknowledged
	}
	targets := make([]*target, 5*len(taking))
	for i := range targets {
		targets[i] = &target{key: copies[0].issue(t, copies[0].user(t))}
	}
	done := make(chan struct{})
	var hammering sync.WaitGroup
	for i := range 8 {
		hammering.Go(func() {
			s, r := copies[i%2], rand.New(rand.NewPCG(uint64(i), 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				one := targets[r.IntN(len(targets))]
				gone := one.gone.Load()
				switch got := s.check(t, one.key.Secret, "m"); {
				case got != "":
					refused.Add(1)
				case gone:
					t.Errorf("%s is allowed after a change that was acknowledged", one.key.ID)
					return
				default:
					allowed.Add(1)
				}
			}
		})
	}
	for i, one := range targets {
		taking[i%len(taking)](t, copies[i/len(taking)%2], one.key)
		one.gone.Store(true)
		for _, s := range copies {
			if got := s.check(t, one.key.Secret, "m"); got == "" {
				t.Errorf("change %d: the next check is allowed", i%len(taking))
			}
		}
	}
	close(done)
	hammering.Wait()
}

// TestDeprovisioning has an identity provider suspend and delete a user by SCIM: the next check through any
// copy sees it. A membership gives no rights, so its end takes none away.
func TestDeprovisioning(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	copies := []*service{start(t, database, ""), start(t, database, "")}
	s := copies[0]
	scim := func(method, path, body string, status int) (made struct{ ID string }) {
		t.Helper()
		var into any
		if status != http.StatusNoContent {
			into = &made
		}
		s.send(t, method, "/scim/v2/"+path, body, "Authorization: Bearer "+tokens.scim, "Content-Type: application/scim+json").into(t, status, into)
		return made
	}
	patch := func(operation string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operation + `]}`
	}
	id := scim(http.MethodPost, "Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada@example.com"}`, http.StatusCreated).ID
	group := scim(http.MethodPost, "Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Research","members":[{"value":"`+id+`"}]}`, http.StatusCreated).ID
	k := s.issue(t, person{ID: id})
	checked := func(what, byKey, bySubject string) {
		t.Helper()
		for i, s := range copies {
			if got := s.forward(t, caller{secret: k.Secret}, "m", "_"); got != byKey {
				t.Errorf("%s, copy %d, by key: %q, want %q", what, i, got, byKey)
			}
			if got := s.authzen(t, caller{subject: "userName:ada@example.com"}, "m", "_"); got != bySubject {
				t.Errorf("%s, copy %d, by subject: %q, want %q", what, i, got, bySubject)
			}
		}
	}
	members := func() int {
		t.Helper()
		var page struct{ Users []person }
		copies[1].do(t, http.MethodGet, users+"?group="+group, "").into(t, http.StatusOK, &page)
		return len(page.Users)
	}
	checked("provisioned", "", "")
	if n := members(); n != 1 {
		t.Errorf("the group has %d members", n)
	}
	scim(http.MethodPatch, "Groups/"+group, patch(`{"op":"Remove","path":"members","value":[{"value":"`+id+`"}]}`), http.StatusNoContent)
	checked("out of the group", "", "")
	if n := members(); n != 0 {
		t.Errorf("the group still has %d members", n)
	}
	scim(http.MethodPatch, "Users/"+id, patch(`{"op":"Replace","path":"active","value":"False"}`), http.StatusOK)
	checked("not active", "SUSPENDED", "SUSPENDED")
	scim(http.MethodPatch, "Users/"+id, patch(`{"op":"Replace","path":"active","value":"True"}`), http.StatusOK)
	checked("active again", "", "")
	scim(http.MethodDelete, "Users/"+id, "", http.StatusNoContent)
	checked("deleted", "INVALID_KEY", "UNKNOWN_SUBJECT")
}

// TestNothingIsShown plants secrets and looks for them in logs and metrics.
func TestNothingIsShown(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.Database(t), "logLevel: debug\n")
	p := s.user(t, `"credentials":{"openai":"sk-planted-credential"}`, `"models":["gpt-*"]`)
	k := s.issue(t, p)
	var rotated key
	s.do(t, http.MethodPost, k.path()+"/rotate", "", "Idempotency-Key: planted").into(t, http.StatusOK, &rotated)
	wrong := access.NewSecret().Text().Reveal()
	for _, secret := range []string{k.Secret, rotated.Secret, wrong, rotated.Secret + "x"} {
		for _, provider := range []string{"_", "openai", "azure", rotated.Secret} {
			s.forward(t, caller{secret: secret}, "gpt-5", provider)
			s.authzen(t, caller{secret: secret}, "planted-model", provider)
			s.send(t, http.MethodPost, "/ai/admin/authorize/"+provider, `{"model":"planted-model"}`, "X-AI-Gateway-Token: "+tokens.gateway, "Authorization: Bearer "+secret)
		}
		s.send(t, http.MethodGet, "/ai/admin/authorize", "", "X-AI-Gateway-Token: "+tokens.gateway+"x", "Authorization: Bearer "+secret)
		s.send(t, http.MethodGet, "/ai/admin/authorize", "", "X-AI-Gateway-Token: "+tokens.reader, "Authorization: Bearer "+secret)
		s.send(t, http.MethodGet, users, "", "Authorization: Bearer "+secret)
		s.do(t, http.MethodPost, p.path()+"/keys", `{"name":"x","`+secret+`":"`+secret+`"}`)
	}
	log, metrics := s.log.String(), s.metricsText(t)
	hash := func(secret string) string {
		parsed, _ := access.ParseSecret(secret)
		return fmt.Sprintf("%x", parsed.Hash())
	}
	for _, hidden := range []string{k.Secret, rotated.Secret, wrong, hash(k.Secret), hash(rotated.Secret), hash(wrong), tokens.gateway, tokens.reader, tokens.admin, "sk-planted-credential", "planted-model"} {
		if strings.Contains(log, hidden) {
			t.Errorf("the log has %.20s", hidden)
		}
		if strings.Contains(metrics, hidden) {
			t.Errorf("the metrics have %.20s", hidden)
		}
	}
	if !strings.Contains(metrics, `ai_admin_access_checks_total{face="forward",outcome="allowed"}`) || !strings.Contains(metrics, `ai_admin_access_checks_total{face="authzen",outcome="INVALID_KEY"}`) {
		t.Error("the checks are not counted")
	}
	if strings.Contains(log, `"route":"/ai/admin/authorize","status":200`) {
		t.Error("an allowed check has a line")
	}
}
