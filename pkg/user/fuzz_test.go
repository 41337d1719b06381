package user

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"aiadmin/pkg/secret"
)

// nastyBodies are forms that have broken decoders: each fuzz target of bodies starts here.
var nastyBodies = []string{
	``, ` `, `null`, `[]`, `{}`, `{"tag":"a","name":"A"}`, `{"tag":"a","name":"A"} x`, `{"tag":"a","tag":"b"}`,
	`{"metadata":{"a":1,"a":2}}`, `{"metadata":{"a":1,"\u0061":2}}`, "{\"name\":\"\xff\"}", `{"name":"\ud800"}`, `{"name":"\u0000"}`,
	`{"tag":"K","name":"\u212a"}`, `{"tag":"A-1","name":"é` + "\u2028" + `","email":"A@B.example","role":"admin","status":"suspended"}`,
	`{"tag":"a","name":"A","models":[],"limits":{"requestsPerMinute":1e2,"tokensPerMinute":-0,"monthlyBudgetUSD":12.50}}`,
	`{"limits":{"requestsPerMinute":1e-999999999,"tokensPerMinute":1e400,"monthlyBudgetUSD":0.001}}`,
	`{"limits":null,"models":null,"credentials":null,"metadata":null,"email":null,"externalId":null}`,
	`{"tag":"a","name":"A","credentials":{"openai":"sk-0123456789","x":null},"metadata":{"a":{"b":null,"c":[1.50,-0,1e9,{"z":null,"y":"<&>"}]}}}`,
	`{"metadata":{"a":{"b":{"c":{"d":1}}}}}`, `{"metadata":{"a":{"b":{"c":{"d":{}}}}}}`, `{"metadata":{"":{"":""},"\u0000":1,"n":1e999}}`,
	`{"metadata":{"x":"` + strings.Repeat("é", 9000) + `"}}`, `{"metadata":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
	`{"id":"018F0000-0000-7000-8000-000000000001","version":1,"createdAt":"x","nope":{}}`, `{"id":"00000000-0000-0000-0000-000000000000"}`,
}

func FuzzParseCreate(f *testing.F) {
	for _, body := range nastyBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		create, err := ParseCreate(body)
		if refused(t, err) || refused(t, create.Validate()) {
			return
		}
		u, err := create.Apply(0, Stamp{Now: someTime, KeyID: "k"})
		if refused(t, err) {
			return
		}
		if u.Version != 1 {
			t.Fatalf("version %d", u.Version)
		}
		checkSound(t, u)
		update, err := ParseUpdate(body)
		if err != nil {
			t.Fatalf("a create that is no update: %v", err)
		}
		checkRepeats(t, update, u)
	})
}

func FuzzParseUpdate(f *testing.F) {
	for _, body := range nastyBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		update, err := ParseUpdate(body)
		if refused(t, err) || refused(t, update.Validate()) {
			return
		}
		before := stored()
		u, err := update.Apply(before, Stamp{Now: later, KeyID: "k"})
		if refused(t, err) {
			return
		}
		if changed := len(differencesOf(before, u)) > 0; changed != (u != before) || changed != (u.Version == 8) {
			t.Fatalf("changed %t, version %d", changed, u.Version)
		}
		if !bytes.Equal(before.AppendJSON(nil), stored().AppendJSON(nil)) {
			t.Fatal("the update wrote into the user it was applied to")
		}
		checkSound(t, u)
		checkRepeats(t, update, u)
	})
}

// refused says whether err is one that a body may be refused with; any other fails.
func refused(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	if kind := KindOf(err); kind != Malformed && kind != Invalid {
		t.Fatalf("kind %s: %v", kind, err)
	}
	if known := err.(*Error); known.Kind == Invalid && len(known.Problems) == 0 {
		t.Fatal("invalid without a problem")
	}
	return true
}

// checkSound holds what is true of every user that a change may lead to.
func checkSound(t *testing.T, u *User) {
	t.Helper()
	encoded := u.AppendJSON(nil)
	var decoded struct {
		Tag, Name string
		Metadata  map[string]any
	}
	if err := json.Unmarshal(encoded, &decoded); err != nil || !utf8.Valid(encoded) {
		t.Fatalf("%v: %s", err, encoded)
	}
	if decoded.Tag != u.Tag || decoded.Name != u.Name || decoded.Metadata == nil {
		t.Fatalf("read back as %+v", decoded)
	}
	if len(u.Metadata) > 16<<10 || nesting(decoded.Metadata) > 5 {
		t.Fatalf("metadata of %d bytes, %d deep", len(u.Metadata), nesting(decoded.Metadata))
	}
	if again := canonical(u.Metadata); !bytes.Equal(again, u.Metadata) {
		t.Fatalf("metadata is not canonical: %s, should be %s", u.Metadata, again)
	}
	if bytes.Contains(encoded, []byte(`\u0000`)) && !bytes.Contains(encoded, []byte(`\\u0000`)) {
		t.Fatalf("a NUL got through: %s", encoded)
	}
}

func nesting(v any) int {
	deepest := -1
	switch v := v.(type) {
	case map[string]any:
		deepest = 0
		for _, member := range v {
			deepest = max(deepest, nesting(member))
		}
	case []any:
		deepest = 0
		for _, element := range v {
			deepest = max(deepest, nesting(element))
		}
	}
	return deepest + 1
}

// checkRepeats applies an update again to what it led to.
func checkRepeats(t *testing.T, update Update, u *User) {
	t.Helper()
	same := func(provider string, plain secret.Text) bool { return update.Credentials.Set[provider] == plain }
	again, err := update.Apply(u, Stamp{Now: later, KeyID: "other", Same: same})
	if err != nil || again != u {
		t.Fatalf("applied again it changes %v, %v", differencesOf(u, again), err)
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, raw := range []string{"", "limit=500&page=20", "limit=0", "page=10001", "tag=A&tag=b", "sort=-email,name,tag,createdAt", "sort=name,name",
		"sort=", "q=%25_", "q=%00", "%ff=1", "tag=%ff", "metadata.a.b=c", "metadata.=x", "metadata..=x", "createdFrom=2026-01-31T00:00:00Z",
		"createdTo=0001-01-01T00:00:00%2B14:00", "createdTo=9999-12-31T23:59:59-14:00", "cursor=e30&sort=tag", "cursor=x&page=1", "count=none&model=gpt&provider=openai",
		"id=018f0000-0000-7000-8000-000000000001&role=admin&status=active", "nope=1", "limit=99999999999999999999", "page=9223372036854775807&limit=500"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, err := ParseQuery(values)
		holdTimePerByte(t, len(raw), func() { _, _ = ParseQuery(values) })
		if refused(t, err) {
			return
		}
		if q.Limit < 1 || q.Limit > MaxLimit || q.Page*q.Limit > maxOffset || len(q.Sort) == 0 {
			t.Fatalf("out of bounds: %+v", q)
		}
		after, err := decodeCursor(q.CursorAfter(stored()), q.fingerprint(), q.fits)
		if err != nil || after.ID != someID {
			t.Fatalf("its own cursor is refused: %v", err)
		}
	})
}

// holdTimePerByte fails if f takes more than a millisecond and five microseconds a byte: what grows with
// the square of the size does at some size. The best of a few tries is taken, since others use the machine.
func holdTimePerByte(t *testing.T, size int, f func()) {
	t.Helper()
	const tries = 5
	most := time.Millisecond + time.Duration(size)*5*time.Microsecond
	least := time.Duration(math.MaxInt64)
	for range tries {
		start := time.Now()
		f()
		if least = min(least, time.Since(start)); least <= most {
			return
		}
	}
	t.Fatalf("%d bytes take %v, more than %v", size, least, most)
}

// TestLongQueriesTakeTimeByTheByte makes each parameter as long as a request line may be.
func TestLongQueriesTakeTimeByTheByte(t *testing.T) {
	t.Parallel()
	const size = 1 << 18
	long := map[string]url.Values{"many unknown names": {}, "many paths": {}, "a deep path": {"metadata." + strings.Repeat("a.", size/2): {"x"}}, "a path of escapes": {"metadata." + strings.Repeat(`\.`, size/2): {"x"}}}
	for i := range size / 16 {
		long["many unknown names"][fmt.Sprint("n", i)] = []string{"x"}
		long["many paths"][fmt.Sprint("metadata.a", i)] = []string{"x"}
	}
	for _, name := range slices.Sorted(maps.Keys(listParameters)) {
		for what, value := range map[string]string{"letters": "a@" + strings.Repeat("é", size/2), "marks": "e" + strings.Repeat("\u0301\u0316", size/4),
			"commas": strings.Repeat("tag,", size/4), "digits": strings.Repeat("9", size), "dots": "a@" + strings.Repeat("é.", size/3)} {
			long[name+" of "+what] = url.Values{name: {value}}
		}
		long["many "+name] = url.Values{name: slices.Repeat([]string{"a@" + strings.Repeat("é", 100)}, size/256)}
		long["a hundred "+name] = url.Values{name: slices.Repeat([]string{strings.Repeat("é", 250)}, 100)}
	}
	for what, values := range long {
		sent := len(values.Encode())
		t.Run(what, func(t *testing.T) { //nolint:paralleltest // it measures time
			holdTimePerByte(t, sent, func() {
				if q, err := ParseQuery(values); err == nil {
					_ = q.CursorAfter(stored())
				}
			})
		})
	}
}

func FuzzCursor(f *testing.F) {
	q := Query{Sort: []SortKey{{"email", false}, {"createdAt", true}}}
	own := q.CursorAfter(stored())
	for _, text := range []string{"", "e30", "bnVsbA", "W10", own, own[1:], own + "A", own + "\n", strings.Repeat("A", maxCursor+1)} {
		f.Add(text, "Ada", "a@b.example")
	}
	f.Fuzz(func(t *testing.T, text, name, email string) {
		if cursor, err := decodeCursor(text, q.fingerprint(), q.fits); err == nil && len(cursor.Keys) != len(q.Sort) {
			t.Fatalf("keys %v for sort %v", cursor.Keys, q.Sort)
		}
		if !utf8.ValidString(name) || !utf8.ValidString(email) || len(name)+len(email) > 2000 || strings.Contains(name+email, "\x00") {
			return // no user has such a name
		}
		u := stored()
		u.Name, u.Email, u.EmailKey = name, &email, ""
		by := Query{Sort: []SortKey{{"name", false}, {"email", true}}}
		cursor, err := decodeCursor(by.CursorAfter(u), by.fingerprint(), by.fits)
		if err != nil || *cursor.Keys[0] != name || *cursor.Keys[1] != FoldAddress(email) {
			t.Fatalf("%q %q came back as %v, %v", name, email, cursor, err)
		}
	})
}
