package blackbox

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// verdict is what docs/api.md says of a value.
type verdict int

const (
	accepted verdict = iota
	refused          // 400 VALIDATION_ERROR that names the field
	either           // it does not say: accepted, or refused just so
)

// fieldRow is one value of one field, as JSON text.
type fieldRow struct {
	field, value string
	verdict      verdict
	echo         string // what a read shows; empty: the value itself; "-": not compared
	names        string // what the problem must name; empty: the field
}

var (
	x63  = strings.Repeat("x", 63)
	e200 = strings.Repeat("é", 200)
)

func tagRows() []fieldRow {
	return rows("tag", accepted, `"a"`, `"7"`, `"a.b_c-d"`, quote(x63), `"a..b"`, `"a--b"`, `"0-0"`,
		`"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f"`,
		refused, `""`, quote(x63+"x"), `"-a"`, `"a-"`, `".a"`, `"a."`, `"_a"`, `"a_"`, `"-"`, `"a b"`, `" a"`, `"a "`, `"ä"`,
		`"日本"`, `"a/b"`, `"a\tb"`, `"a\n"`, `"a%b"`, `"a@b"`, `"a\u0000b"`, `"aİ"`, `"ſ"`, `null`, `5`, `true`, `[]`, `{}`, `["a"]`).
		add(fieldRow{field: "tag", value: `"MiXed.Case-1"`, echo: `"mixed.case-1"`},
			fieldRow{field: "tag", value: `"\u212a"`, verdict: either, echo: `"k"`}) // the Kelvin sign, a k in lower case
}

func nameRows() []fieldRow {
	return rows("name", accepted, `"a"`, quote(strings.Repeat("a", 200)), quote(e200), quote(strings.Repeat("🔑", 200)),
		`"O'Neil \"Q\" \\ / <b>&amp;</b>"`, `"日本語"`, `"%s %d {} ${x}"`,
		refused, `""`, quote(e200+"é"), quote(strings.Repeat("🔑", 201)), `"a\u0000b"`, `"a\u0001b"`, `"a\nb"`, `"a\tb"`, `"a\u007fb"`, `"a\u0085b"`,
		`null`, `5`, `false`, `[]`, `{}`, `"   "`, `"a\u2028b"`, `"\u202ea"`, `"\u200b"`, `"\u200d \ufe0f"`, `"\u3164"`,
		accepted, `"a\u200bb"`, `"👩\u200d💻"`).
		add(fieldRow{field: "name", value: `" a\u3000"`, echo: `"a"`}, fieldRow{field: "name", value: `"\u0085 a b\n"`, echo: `"a b"`})
}

func userNameRows() []fieldRow {
	return rows("userName", accepted, `null`, quote("U-"+newTag()), quote(newTag()+"@Corp"), quote(newTag()+strings.Repeat("é", 255-len(newTag()))),
		refused, `""`, quote(strings.Repeat("é", 256)), `"a\u0000b"`, `"a\tb"`, `5`, `false`, `[]`, `{}`)
}

func expiresAtRows() []fieldRow {
	return rows("expiresAt", accepted, `null`, `"2027-01-31T00:00:00.123456Z"`, `"1999-12-31T23:59:59.000000Z"`,
		refused, `""`, `"tomorrow"`, `"2027-01-31"`, `"2027-02-30T00:00:00Z"`, `5`, `true`, `[]`, `{}`).
		add(fieldRow{field: "expiresAt", value: `"2027-01-31t01:00:00+01:00"`, echo: `"2027-01-31T00:00:00.000000Z"`})
}

func emailRows() []fieldRow {
	local := strings.Repeat("l", 64)
	domain := strings.Repeat("d", 60) + "." + strings.Repeat("d", 60) + "." + strings.Repeat("d", 60) + ".example" // 190
	return rows("email", accepted, `null`, `"first.last+tag@sub.example.com"`, `"o'hara@example.org"`, `"x@y-z.example"`,
		quote(local[:63]+"@"+domain), // 254
		refused, quote(local+"@"+domain), quote("a@"+strings.Repeat("d.", 130)+"com"), `""`, `"a"`, `"a@"`, `"@b.example"`, `"a b@c.example"`,
		`"a@b@c.example"`, `"Ada <ada@example.com>"`, `"a@example.com\n"`, `"a@exa\u0000mple.com"`, `" a@example.com"`, `"a@example.com,b@example.com"`,
		`5`, `true`, `[]`, `{}`,
		either, `"a@b"`, `"a@localhost"`, `"a@[127.0.0.1]"`, `"jörg@example.com"`, `"a@bücher.example"`, `"a@example.com."`).
		add(fieldRow{field: "email", value: `"Upper@Example.COM"`, echo: "-"})
}

func enumRows() []fieldRow {
	return rows("role", accepted, `"admin"`, `"member"`, `"viewer"`, `"service"`,
		refused, `""`, `"root"`, `"Admin"`, `" admin"`, `"admin\u0000"`, `5`, `[]`, `{}`, either, `null`).
		add(rows("status", accepted, `"active"`, `"suspended"`,
			refused, `""`, `"deleted"`, `"ACTIVE"`, `"active\u0000"`, `5`, `true`, `[]`, either, `null`)...)
}

func modelRows() []fieldRow {
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`"m",`, n), ",") + "]" }
	return rows("models", accepted, `null`, `[]`, `["gpt-5*"]`, `["*"]`, list(100), `["b","a"]`,
		`[`+quote(strings.Repeat("é", 128))+`]`,
		refused, list(101), `[""]`, `["a",""]`, `[`+quote(strings.Repeat("é", 129))+`]`, `[5]`, `[null]`, `[["a"]]`, `[{}]`, `["a\u0000"]`,
		`"gpt-5"`, `{}`, `5`, `true`, either, `[" "]`, `["a\nb"]`)
}

func externalIDRows() []fieldRow {
	return rows("externalId", accepted, `null`, `"x"`, quote(strings.Repeat("é", 255)), `"00u1/…|idp"`,
		refused, quote(strings.Repeat("é", 256)), `"a\u0000"`, `5`, `[]`, `{}`, `true`, `""`, either, `"a\nb"`, `"   "`)
}

func limitRows() []fieldRow {
	var out []fieldRow
	for _, name := range []string{"requestsPerMinute", "tokensPerMinute"} {
		out = append(out, limit(name, accepted, `null`, `0`, `1`, `2147483648`, `9007199254740991`)...)
		out = append(out, limit(name, refused, `-1`, `1.5`, `0.001`, `"5"`, `""`, `true`, `[]`, `{}`, `1e-2`, `1e400`, `-9223372036854775809`)...)
		out = append(out, limit(name, either, `1e2`, `1.0`, `-0`, `9223372036854775807`, `9223372036854775808`, `99999999999999999999999999`, `1E+2`)...)
	}
	out = append(out, limit("monthlyBudgetUSD", accepted, `null`, `0`, `0.01`, `0.1`, `10.5`, `12.34`, `0.10`, `99999.99`, `1000000`)...)
	out = append(out, limit("monthlyBudgetUSD", refused, `-0.01`, `-1`, `0.001`, `12.345`, `1e-3`, `1e-400`, `"5"`, `"abc"`, `true`, `[]`, `{}`)...)
	out = append(out, limit("monthlyBudgetUSD", either, `1e2`, `1.500`, `-0`, `1e15`, `99999999999999999999.99`, `1e400`, `1e999999999`)...)
	return append(out,
		fieldRow{field: "limits", value: `{}`, echo: `{"requestsPerMinute":null,"tokensPerMinute":null,"monthlyBudgetUSD":null}`},
		fieldRow{field: "limits", value: `null`, echo: "-"},
		fieldRow{field: "limits", value: `{"perSecond":1}`, verdict: refused, names: "limits.perSecond"},
		fieldRow{field: "limits", value: `{"RequestsPerMinute":1}`, verdict: refused, names: "limits.RequestsPerMinute"},
		fieldRow{field: "limits", value: `[]`, verdict: refused}, fieldRow{field: "limits", value: `5`, verdict: refused},
		fieldRow{field: "limits", value: `"none"`, verdict: refused})
}

func limit(name string, v verdict, values ...string) []fieldRow {
	var out []fieldRow
	for _, value := range values {
		full := map[string]string{"requestsPerMinute": "null", "tokensPerMinute": "null", "monthlyBudgetUSD": "null", name: value}
		out = append(out, fieldRow{field: "limits", value: fmt.Sprintf(`{%q:%s}`, name, value), verdict: v, names: "limits." + name,
			echo: fmt.Sprintf(`{"requestsPerMinute":%s,"tokensPerMinute":%s,"monthlyBudgetUSD":%s}`,
				full["requestsPerMinute"], full["tokensPerMinute"], full["monthlyBudgetUSD"])})
	}
	return out
}

func credentialRows() []fieldRow {
	one := func(provider, secret string) string { return fmt.Sprintf(`{%s:%s}`, quote(provider), secret) }
	long := planted + strings.Repeat("x", 4096-len(planted))
	wide := strings.Repeat("é", 2048)
	out := rows("credentials", refused, one("", `"x"`), one(x63+"x", `"x"`), one("Open", `"x"`), one("open ai", `"x"`),
		one("öpen", `"x"`), one("a.b", `"x"`), one("a\x00", `"x"`), `[]`, `5`, `"x"`, `true`).
		add(fieldRow{field: "credentials", value: one("-", `"x"`), verdict: either, echo: "-"})
	for _, bad := range []string{`""`, quote(long + "x"), quote(wide + "x"), `5`, `true`, `[]`, `{}`, `"a\u0000b"`} {
		out = append(out, fieldRow{field: "credentials", value: one("openai", bad), verdict: refused, names: "credentials.openai"})
	}
	for _, good := range []string{`{}`, one("openai", quote(planted+"-1")), one(x63, `"x"`), one("a-1", quote(long)), one("open_ai", `"x"`), one("a", quote(wide)), one("a", `" x\n"`)} {
		out = append(out, fieldRow{field: "credentials", value: good, echo: "-"})
	}
	return append(out, fieldRow{field: "credentials", value: one("openai", "null"), verdict: either, echo: "[]"},
		fieldRow{field: "credentials", value: "null", verdict: either, echo: "[]"})
}

func metadataRows() []fieldRow {
	nest := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	size := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	return rows("metadata", accepted, `{}`, `{"a":1,"b":"x","c":[1,null,"x"],"d":{"e":true}}`, nest(5), size(16<<10), `{"":1}`, `{"a.b":{"c d":"ü"}}`,
		`{"a":[[[1]]]}`, `{"a":0.1,"b":-3}`, `{"__proto__":{"x":1},"$ref":"#"}`, `{"a":"\ud83d\udd11"}`,
		refused, size(16<<10+1), nest(7), `{"a":[[[[[[1]]]]]]}`, `{"a":"x\u0000"}`, `{"a\u0000":1}`, `{"a":["\u0000"]}`, `[]`, `"x"`, `5`, `true`,
		either, nest(6), `{"a":1e400}`, `{"a":1e-400}`).
		add(fieldRow{field: "metadata", value: "null", verdict: either, echo: "{}"},
			fieldRow{field: "metadata", value: `{"a":9007199254740993}`, echo: "-"},
			fieldRow{field: "metadata", value: `{"a":123456789012345678901234567890}`, verdict: either, echo: "-"},
			fieldRow{field: "metadata", value: `{"a":1e2}`, echo: "-"})
}

func foreignRows() []fieldRow {
	var out []fieldRow
	for _, field := range []string{"version", "createdAt", "updatedAt", "foo", "Tag", "NAME", "externalID", "external_id", "hint", "password", ""} {
		for _, value := range []string{`1`, `null`, `"x"`, `{}`} {
			out = append(out, fieldRow{field: field, value: value, verdict: refused})
		}
	}
	return out
}

type rowList []fieldRow

// rows reads a list of verdicts, each with the values that follow it.
func rows(field string, list ...any) rowList {
	var out rowList
	v := accepted
	for _, item := range list {
		switch item := item.(type) {
		case verdict:
			v = item
		case string:
			out = append(out, fieldRow{field: field, value: item, verdict: v})
		}
	}
	return out
}

func (l rowList) add(more ...fieldRow) rowList { return append(l, more...) }

// TestFields puts every field at its limits and one past them, on every way in.
func TestFields(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	var all []fieldRow
	for _, list := range []func() []fieldRow{tagRows, nameRows, emailRows, userNameRows, expiresAtRows, enumRows, modelRows, externalIDRows, limitRows,
		credentialRows, metadataRows, foreignRows} {
		all = append(all, list()...)
	}
	for _, row := range all {
		t.Run(clip(row.field+"="+row.value), func(t *testing.T) {
			t.Parallel()
			s.checkCreate(t, row)
			s.checkUpdate(t, row, "PUT")
			s.checkUpdate(t, row, "PATCH")
		})
	}
}

func clip(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%s…(%d)", s[:60], len(s))
	}
	return s
}

func (s *service) checkCreate(t *testing.T, row fieldRow) {
	t.Helper()
	members := []string{}
	for field, value := range map[string]string{"tag": quote(newTag()), "name": `"N"`, row.field: row.value} {
		members = append(members, quote(field)+":"+value)
	}
	a := s.do(t, "POST", usersPath, "{"+strings.Join(members, ",")+"}")
	if row.judge(t, a, http.StatusCreated) {
		s.do(t, "DELETE", a.user(t).path(), "").is(t, http.StatusNoContent)
	}
}

func (s *service) checkUpdate(t *testing.T, row fieldRow, method string) {
	t.Helper()
	before := s.do(t, "GET", s.create(t).path(), "")
	path := before.user(t).path()
	a := s.do(t, method, path, fmt.Sprintf("{%s:%s}", quote(row.field), row.value))
	if !row.judge(t, a, http.StatusOK) {
		if after := s.do(t, "GET", path, ""); string(after.body) != string(before.body) {
			t.Errorf("%s was refused and changed the user:\n%s\n%s", method, before.body, after.body)
		}
	}
	s.do(t, "DELETE", path, "").is(t, http.StatusNoContent)
}

// judge says whether the value was accepted, and fails the test if that, or what is shown
// of it, is not what the row says.
func (r fieldRow) judge(t *testing.T, a answer, success int) bool {
	t.Helper()
	if r.verdict == refused || r.verdict == either && a.status != success {
		names := r.names
		if names == "" {
			names = r.field
		}
		p := a.fails(t, http.StatusBadRequest, "VALIDATION_ERROR")
		if !p.names(names) && !(names == "" && len(p.Details) > 0) && !strings.HasPrefix(names, "credentials") {
			t.Errorf("%s: no problem names %q: %s", a.call, names, a.body)
		}
		if strings.HasPrefix(names, "credentials") && !p.names("credentials") {
			t.Errorf("%s: no problem names %q: %s", a.call, names, a.body)
		}
		return false
	}
	a.is(t, success)
	want := r.echo
	if want == "" {
		want = r.value
	}
	if want != "-" && !sameJSON(t, want, member(t, a, r.field)) {
		t.Errorf("%s: %s is %s, want %s", a.call, r.field, member(t, a, r.field), want)
	}
	return true
}

func member(t testing.TB, a answer, field string) string {
	t.Helper()
	var members map[string]json.RawMessage
	a.decode(t, &members)
	return string(members[field])
}

// sameJSON compares as JSON means: numbers by their value, the order of members left out.
func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	return reflect.DeepEqual(normal(t, a), normal(t, b))
}

func normal(t testing.TB, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return exact(t, v)
}

func exact(t testing.TB, v any) any {
	switch v := v.(type) {
	case json.Number:
		if r, ok := new(big.Rat).SetString(v.String()); ok && len(v) < 40 && !strings.ContainsAny(v.String(), "eE") {
			return r.RatString()
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return new(big.Rat).SetFloat64(f).RatString()
	case map[string]any:
		for k := range v {
			v[k] = exact(t, v[k])
		}
	case []any:
		for i := range v {
			v[i] = exact(t, v[i])
		}
	}
	return v
}

// TestCreateID holds what the id of a creation may be.
func TestCreateID(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for _, id := range []string{"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f", "7d444840-9dc0-11d1-b245-5ffdce74fad2", "F47AC10B-58CC-4372-A567-0E02B2C3D479"} {
		u := s.create(t, `"id":`+quote(id))
		if u.ID != strings.ToLower(id) {
			t.Errorf("id %s, want %s", u.ID, id)
		}
		s.do(t, "GET", usersPath+"/"+strings.ToUpper(u.ID), "").is(t, http.StatusOK)
		again := fmt.Sprintf(`{"tag":%q,"name":"N","id":%q}`, newTag(), id)
		s.do(t, "POST", usersPath, again).fails(t, http.StatusConflict, "DUPLICATE_ID")
	}
	for _, id := range []string{`""`, `"x"`, `5`, `[]`, `{}`, `true`, `"{01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6a}"`, `"urn:uuid:01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6a"`,
		`"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6"`, `"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6g"`, `"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6\u0000"`} {
		s.do(t, "POST", usersPath, fmt.Sprintf(`{"tag":%q,"name":"N","id":%s}`, newTag(), id)).fails(t, http.StatusBadRequest, "VALIDATION_ERROR", "id")
	}
	if made := s.create(t).ID; made[14] != '7' {
		t.Errorf("%s is no UUID of version 7", made)
	}
}

// TestCreateDefaults holds what a user has that is given a tag and a name alone.
func TestCreateDefaults(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	a := s.do(t, "POST", usersPath, `{"tag":"least","name":"Least"}`).is(t, http.StatusCreated)
	for field, want := range map[string]string{"email": "null", "role": `"member"`, "status": `"active"`, "models": "null", "credentials": "[]",
		"metadata": "{}", "externalId": "null", "version": "1", "tag": `"least"`,
		"limits": `{"requestsPerMinute":null,"tokensPerMinute":null,"monthlyBudgetUSD":null}`} {
		if got := member(t, a, field); !sameJSON(t, got, want) {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
	if u := a.user(t); u.CreatedAt != u.UpdatedAt {
		t.Errorf("created %s, updated %s", u.CreatedAt, u.UpdatedAt)
	}
	for body, fields := range map[string][]string{`{}`: {"tag", "name"}, `{"tag":"x1"}`: {"name"}, `{"name":"X"}`: {"tag"}} {
		s.do(t, "POST", usersPath, body).fails(t, http.StatusBadRequest, "VALIDATION_ERROR", fields...)
	}
	// All problems come at once.
	p := s.do(t, "POST", usersPath, `{"tag":"-","email":"x","role":"y","limits":{"tokensPerMinute":-1,"foo":1},"models":[""],"bar":1,"version":2}`).
		fails(t, http.StatusBadRequest, "VALIDATION_ERROR", "tag", "name", "email", "role", "limits.tokensPerMinute", "limits.foo", "models", "bar", "version")
	if len(p.Details) != 9 {
		t.Errorf("%d problems, want 9: %+v", len(p.Details), p.Details)
	}
}

// TestUniqueness holds which values two users cannot both have, on every way in.
func TestUniqueness(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	s.do(t, "POST", usersPath, `{"tag":"first","name":"F","email":"First@Example.com","externalId":"Ext-1"}`).is(t, http.StatusCreated)
	other := s.create(t)
	for _, tt := range []struct{ member, code string }{
		{`"tag":"first"`, "DUPLICATE_TAG"}, {`"tag":"FIRST"`, "DUPLICATE_TAG"},
		{`"email":"first@example.com"`, "DUPLICATE_EMAIL"}, {`"email":"FIRST@EXAMPLE.COM"`, "DUPLICATE_EMAIL"},
		{`"externalId":"Ext-1"`, "DUPLICATE_EXTERNAL_ID"},
	} {
		body := fmt.Sprintf(`{"name":"N",%s`, tt.member)
		if !strings.HasPrefix(tt.member, `"tag"`) {
			body += fmt.Sprintf(`,"tag":%q`, newTag())
		}
		s.do(t, "POST", usersPath, body+"}").fails(t, http.StatusConflict, tt.code)
		s.do(t, "PUT", other.path(), "{"+tt.member+"}").fails(t, http.StatusConflict, tt.code)
		s.do(t, "PATCH", other.path(), "{"+tt.member+"}").fails(t, http.StatusConflict, tt.code)
	}
	if after := s.get(t, other.ID); after.Version != 1 {
		t.Errorf("refused changes made version %d", after.Version)
	}
	s.create(t, `"externalId":"ext-1"`) // not the same: an identity provider's ids are its own
	s.create(t)                         // neither address nor externalId: absent values are not duplicates
	s.do(t, "PUT", other.path(), `{"email":"free@example.com"}`).is(t, http.StatusOK)
	s.do(t, "PUT", other.path(), `{"email":null}`).is(t, http.StatusOK)
	s.create(t, `"email":"free@example.com"`)
}

// TestUserNameFallsBack takes away what stood in for a user's name where another user has the value that
// then takes effect: at once a conflict, whichever way it comes.
func TestUserNameFallsBack(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	for i, tt := range []struct {
		name, members, body string
		taken               func(user) string // what another user is called
	}{
		{"a userName, to the tag", `"userName":"%s@idp"`, `{"userName":null}`, func(u user) string { return u.Tag }},
		{"a userName, to the e-mail address", `"userName":"%s@idp","email":"%[1]s@example.com"`, `{"userName":null}`, func(u user) string { return strings.ToUpper(*u.Email) }},
		{"an e-mail address, to the tag", `"email":"%s@example.com"`, `{"email":null}`, func(u user) string { return strings.ToUpper(u.Tag) }},
		{"both, to the tag", `"userName":"%s@idp","email":"%[1]s@example.com"`, `{"userName":null,"email":null}`, func(u user) string { return u.Tag }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := s.create(t, fmt.Sprintf(tt.members, newTag()))
			holder := s.create(t, `"userName":`+quote(tt.taken(u)))
			for _, path := range []string{u.path(), usersPath + "/tag:" + u.Tag} {
				s.do(t, "PUT", path, tt.body).fails(t, http.StatusConflict, "DUPLICATE_USER_NAME")
				s.do(t, "PATCH", path, tt.body).fails(t, http.StatusConflict, "DUPLICATE_USER_NAME")
			}
			event := binaryMode(fmt.Sprint("fallback-", i), "update", "ce-subject", u.ID)
			s.do(t, "POST", "/ai/admin/events", tt.body, event...).fails(t, http.StatusUnprocessableEntity, "DUPLICATE_USER_NAME")
			s.do(t, "PUT", holder.path(), `{"userName":null}`).is(t, http.StatusOK)
			s.do(t, "PUT", u.path(), tt.body).is(t, http.StatusOK)
		})
	}
}
