package access

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/secret"
	"aiadmin/pkg/user"
)

// TestDecide changes one thing at a time about a caller that may do everything.
func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	before, after, zero, cents := now.Add(-time.Microsecond), now.Add(time.Microsecond), int64(0), user.Cents(0)
	gpt := Models{"gpt-*"}
	for name, test := range map[string]struct {
		change func(q *Question, f *Found)
		want   Reason
	}{
		"all is well":           {func(*Question, *Found) {}, ""},
		"no such key":           {func(_ *Question, f *Found) { f.Key, f.Subject = nil, nil }, InvalidKey},
		"key disabled":          {func(_ *Question, f *Found) { f.Key.Disabled = true }, InvalidKey},
		"key expired":           {func(_ *Question, f *Found) { f.Key.ExpiresAt = &now }, InvalidKey},
		"key expires soon":      {func(_ *Question, f *Found) { f.Key.ExpiresAt = &after }, ""},
		"former secret, valid":  {func(_ *Question, f *Found) { f.Key.Former, f.Key.FormerUntil = true, &after }, ""},
		"former secret, over":   {func(_ *Question, f *Found) { f.Key.Former, f.Key.FormerUntil = true, &now }, InvalidKey},
		"former secret, ended":  {func(_ *Question, f *Found) { f.Key.Former = true }, InvalidKey},
		"rotated, new secret":   {func(_ *Question, f *Found) { f.Key.FormerUntil = &before }, ""},
		"no such subject":       {func(q *Question, f *Found) { q.KeyHash, f.Key, f.Subject = nil, nil, nil }, UnknownSubject},
		"subject without key":   {func(q *Question, f *Found) { q.KeyHash, f.Key = nil, nil }, ""},
		"suspended":             {func(_ *Question, f *Found) { f.Subject.Status = user.Suspended }, UserSuspended},
		"suspended and expired": {func(_ *Question, f *Found) { f.Subject.Status, f.Subject.ExpiresAt = user.Suspended, &before }, UserSuspended},
		"suspended, bad key":    {func(_ *Question, f *Found) { f.Subject.Status, f.Key.Disabled = user.Suspended, true }, InvalidKey},
		"user expired":          {func(_ *Question, f *Found) { f.Subject.ExpiresAt = &now }, UserExpired},
		"user expires soon":     {func(_ *Question, f *Found) { f.Subject.ExpiresAt = &after }, ""},
		"expired, wrong model":  {func(_ *Question, f *Found) { f.Subject.ExpiresAt, f.Subject.Models = &before, Models{} }, UserExpired},
		"model on the list":     {func(_ *Question, f *Found) { f.Subject.Models = Models{"claude", "gpt-?"} }, ""},
		"model not on the list": {func(_ *Question, f *Found) { f.Subject.Models = Models{"claude"} }, ModelNotAllowed},
		"empty list":            {func(_ *Question, f *Found) { f.Subject.Models = Models{} }, ModelNotAllowed},
		"key narrows":           {func(_ *Question, f *Found) { f.Key.Models = Models{"claude"} }, ModelNotAllowed},
		"key never widens":      {func(_ *Question, f *Found) { f.Subject.Models, f.Key.Models = Models{"claude"}, gpt }, ModelNotAllowed},
		"both allow":            {func(_ *Question, f *Found) { f.Subject.Models, f.Key.Models = gpt, Models{"*5"} }, ""},
		"unknown, all allowed":  {func(q *Question, _ *Found) { q.Model = Model{} }, ""},
		"unknown, star":         {func(q *Question, f *Found) { q.Model, f.Subject.Models = Model{}, Models{"x", "**"} }, ""},
		"unknown, list":         {func(q *Question, f *Found) { q.Model, f.Subject.Models = Model{}, gpt }, ModelRequired},
		"unknown, empty list":   {func(q *Question, f *Found) { q.Model, f.Subject.Models = Model{}, Models{} }, ModelRequired},
		"unknown, key's list":   {func(q *Question, f *Found) { q.Model, f.Key.Models = Model{}, gpt }, ModelRequired},
		"any, all allowed":      {func(q *Question, _ *Found) { q.Model = AnyModel }, ""},
		"any, some allowed":     {func(q *Question, f *Found) { q.Model, f.Subject.Models = AnyModel, gpt }, ""},
		"any, none allowed":     {func(q *Question, f *Found) { q.Model, f.Subject.Models = AnyModel, Models{} }, ModelNotAllowed},
		"any, key allows none":  {func(q *Question, f *Found) { q.Model, f.Key.Models = AnyModel, Models{} }, ModelNotAllowed},
		"any, nothing in both": {func(q *Question, f *Found) {
			q.Model, f.Subject.Models, f.Key.Models = AnyModel, gpt, Models{"claude*"}
		}, ModelNotAllowed},
		"any, some in both": {func(q *Question, f *Found) { q.Model, f.Subject.Models, f.Key.Models = AnyModel, gpt, Models{"*-mini"} }, ""},
		"a model named *":   {func(q *Question, f *Found) { q.Model, f.Subject.Models = ModelNamed("*"), gpt }, ModelNotAllowed},
		"requests 0":        {func(_ *Question, f *Found) { f.Subject.Limits.RequestsPerMinute = &zero }, LimitZero},
		"tokens 0":          {func(_ *Question, f *Found) { f.Subject.Limits.TokensPerMinute = &zero }, LimitZero},
		"budget 0":          {func(_ *Question, f *Found) { f.Subject.Limits.MonthlyBudgetUSD = &cents }, LimitZero},
		"0 and wrong model": {func(_ *Question, f *Found) { f.Subject.Limits.MonthlyBudgetUSD, f.Subject.Models = &cents, Models{} }, ModelNotAllowed},
		"credential held":   {func(q *Question, f *Found) { q.Provider, f.Held = "openai", true }, ""},
		"no credential":     {func(q *Question, _ *Found) { q.Provider = "openai" }, NoCredential},
		"no credential, 0":  {func(q *Question, f *Found) { q.Provider, f.Subject.Limits.TokensPerMinute = "openai", &zero }, LimitZero},
	} {
		q := Question{KeyHash: new(Hash), Model: ModelNamed("gpt-5")}
		found := Found{Subject: &Subject{ID: uuid.Max, Status: user.Active}, Key: &Key{ID: uuid.Max}}
		test.change(&q, &found)
		d := Decide(&q, found, now)
		if d.Reason != test.want || (d.Message == "") != d.Allowed() || d.Allowed() != (test.want == "") {
			t.Errorf("%s: %q %q, want %q", name, d.Reason, d.Message, test.want)
		}
	}
}

func TestARefusalNamesTheModelAskedFor(t *testing.T) {
	t.Parallel()
	q := Question{Model: ModelNamed("gpt-5")}
	d := Decide(&q, Found{Subject: &Subject{Status: user.Active, Models: Models{"claude-secret"}}}, time.Now())
	if !strings.Contains(d.Message, "gpt-5") || strings.Contains(d.Message, "claude-secret") {
		t.Error(d.Message)
	}
}

// TestUntil is when the first of the things that expire does.
func TestUntil(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	one, two, three := now.Add(time.Hour), now.Add(2*time.Hour), now.Add(3*time.Hour)
	for _, test := range []struct {
		user, key, former *time.Time
		want              time.Time
	}{
		{nil, nil, nil, time.Time{}}, {&one, nil, nil, one}, {nil, &two, nil, two}, {&two, &one, nil, one},
		{&three, &two, &one, one}, {&one, &two, &three, one},
	} {
		q := Question{KeyHash: new(Hash), Model: AnyModel}
		found := Found{Subject: &Subject{Status: user.Active, ExpiresAt: test.user}, Key: &Key{ExpiresAt: test.key, Former: test.former != nil, FormerUntil: test.former}}
		if d := Decide(&q, found, now); !d.Allowed() || !d.Until.Equal(test.want) {
			t.Errorf("%v: until %s, %s", test, d.Until, d.Reason)
		}
	}
}

func TestSendable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"sk-live~!": true, "two words": true, "": false, " a": false, "a\n": false, "a\tb": false, "ä": false, "a\x7f": false, "a\r\nb": false} {
		if got := sendable(secret.New(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestSemantics(t *testing.T) {
	t.Parallel()
	allowed, refused := Decision{}, Decision{Reason: InvalidKey}
	for semantic, want := range map[Semantic][2]bool{ExecuteAll: {false, false}, DenyOnFirstDeny: {false, true}, PermitOnFirstPermit: {true, false}} {
		if got := [2]bool{semantic.Ends(&allowed), semantic.Ends(&refused)}; got != want {
			t.Errorf("%s ends %v", semantic, got)
		}
	}
}
