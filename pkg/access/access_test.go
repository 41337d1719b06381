package access

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// TestKnownSecrets compares with what was computed apart from this code: the digits with another language's
// big integers, the checksum with zlib.
func TestKnownSecrets(t *testing.T) {
	t.Parallel()
	var counting, ones [32]byte
	for i := range counting {
		counting[i], ones[i] = byte(i), 0xff
	}
	for _, known := range []struct {
		random       [32]byte
		secret, hash string
	}{
		{[32]byte{}, "aik_00000000000000000000000000000000000000000002NnGIZ", "b8d9d8ab2003b2e2c6deaea354f729e1a531e4eeb04835d555e200c7378fa835"},
		{counting, "aik_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf3CqIit", "a0f7737a2d25c8664b171495a0f028f7dfd1069e8806d53d1a95008d0e95c618"},
		{ones, "aik_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp10lHLSJ", "4ad4414bc40c4f1e9607adbccb85588da8289132481fea802476df4ff9752738"},
	} {
		s := secretOf(known.random)
		if got := s.Text().Reveal(); got != known.secret {
			t.Errorf("%x is spelled %s, want %s", known.random, got, known.secret)
		}
		if got := fmt.Sprintf("%x", s.Hash()); got != known.hash {
			t.Errorf("%x is stored as %s, want %s", known.random, got, known.hash)
		}
		if got := s.Hint(); got != "aik_…"+known.secret[49:] {
			t.Errorf("hint %s", got)
		}
	}
}

func TestNewSecretsAreRandomAndParse(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^aik_[0-9A-Za-z]{49}$`) // as docs/gateways.md gives it to scanners for leaked secrets
	seen := map[string]bool{}
	for range 1000 {
		text := NewSecret().Text().Reveal()
		parsed, ok := ParseSecret(text)
		if !ok || parsed.Text().Reveal() != text || !pattern.MatchString(text) || seen[text] {
			t.Fatalf("%s: parsed %t, seen %t", text, ok, seen[text])
		}
		seen[text] = true
	}
}

// TestDamagedSecretsAreRefused changes each character in turn: the checksum notices every one.
func TestDamagedSecretsAreRefused(t *testing.T) {
	t.Parallel()
	text := NewSecret().Text().Reveal()
	for i := range text {
		for _, c := range []byte("0zA-_ \x00\xff") {
			damaged := []byte(text)
			damaged[i] = c
			if _, ok := ParseSecret(string(damaged)); ok && string(damaged) != text {
				t.Errorf("%q is taken for a secret", damaged)
			}
		}
	}
	for _, other := range []string{"", "aik_", text[1:], text + "0", " " + text, strings.ToUpper(text), strings.Repeat("aik_", 1000)} {
		if _, ok := ParseSecret(other); ok {
			t.Errorf("%q is taken for a secret", other)
		}
	}
}

func TestParseHash(t *testing.T) {
	t.Parallel()
	hash := NewSecret().Hash()
	for text, want := range map[string]bool{
		fmt.Sprintf("sha256:%x", hash): true, fmt.Sprintf("sha256:%X", hash): true, fmt.Sprintf("%x", hash): false,
		fmt.Sprintf("sha256:%x00", hash): false, "sha256:": false, "sha256:" + strings.Repeat("g", 64): false,
	} {
		if got, ok := ParseHash(text); ok != want || ok && got != hash {
			t.Errorf("%s: %t", text, ok)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(NewSecret().Text().Reveal())
	f.Add("aik_")
	f.Fuzz(func(t *testing.T, text string) {
		if s, ok := ParseSecret(text); ok && s.Text().Reveal() != text {
			t.Errorf("%q became another secret", text)
		}
	})
}

// naive matches a glob by its definition, in exponential time.
func naive(glob, model []rune) bool {
	switch {
	case len(glob) == 0:
		return len(model) == 0
	case glob[0] == '*':
		return naive(glob[1:], model) || len(model) > 0 && naive(glob, model[1:])
	case len(model) == 0:
		return false
	}
	return (glob[0] == '?' || glob[0] == model[0]) && naive(glob[1:], model[1:])
}

func randomText(r *rand.Rand, alphabet string, most int) string {
	letters, text := []rune(alphabet), strings.Builder{}
	for range r.IntN(most + 1) {
		text.WriteRune(letters[r.IntN(len(letters))])
	}
	return text.String()
}

func TestMatchIsTheDefinition(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	matched := 0
	for range 40_000 {
		glob, model := randomText(r, "ab/é**?", 9), randomText(r, "ab/é", 9)
		want := naive([]rune(glob), []rune(model))
		if got := Match(glob, model); got != want {
			t.Fatalf("Match(%q, %q) = %t", glob, model, got)
		}
		if want {
			matched++
		}
	}
	if matched < 4_000 {
		t.Errorf("only %d pairs matched", matched)
	}
}

func TestMatchExamples(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		glob, model string
		want        bool
	}{
		{"gpt-5*", "gpt-5", true}, {"gpt-5*", "gpt-5-mini", true}, {"gpt-5*", "GPT-5", false}, {"openai/*", "openai/gpt-4o", true},
		{"openai/*", "openai/a/b", true}, {"openai/*", "gpt-4o", false}, {"bedrock/*", "bedrockz/x", false}, {"gpt-?", "gpt-5", true},
		{"gpt-?", "gpt-", false}, {"gpt-?", "gpt-é", true}, {"[a-z]", "b", false}, {"[a-z]", "[a-z]", true}, {`a\*`, `a\b`, true},
		{"a_b%", "axbc", false}, {"*", "", true}, {"", "", true}, {"", "a", false}, {"*-mini", "gpt-5-mini", true},
	} {
		if got := Match(test.glob, test.model); got != test.want {
			t.Errorf("Match(%q, %q) = %t", test.glob, test.model, got)
		}
	}
}

// TestMatchTakesNoLongWithManyStars holds the time of globs that make matchers with backtracking
// explode: 128 characters, of which every second is a star.
func TestMatchTakesNoLongWithManyStars(t *testing.T) {
	t.Parallel()
	glob, model := strings.Repeat("a*", 64)+"b", strings.Repeat("a", 20_000)
	begun := time.Now()
	if Match(glob, model) {
		t.Error("matches")
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestOverlapIsTheDefinition compares with every name of up to six characters: two globs of up
// to five characters overlap in one of those or not at all.
func TestOverlapIsTheDefinition(t *testing.T) {
	t.Parallel()
	names := []string{""}
	for first := 0; len(names[len(names)-1]) < 6; {
		last := len(names)
		for _, name := range names[first:] {
			names = append(names, name+"a", name+"b", name+"/")
		}
		first = last
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 800 {
		a, b := randomText(r, "ab/**?", 5), randomText(r, "ab/**?", 3)
		want := false
		for _, name := range names {
			want = want || Match(a, name) && Match(b, name)
		}
		if got := globsOverlap(a, b); got != want {
			t.Fatalf("globsOverlap(%q, %q) = %t", a, b, got)
		}
	}
}

func TestBodyModel(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*bodyBuffer)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for body, want := range map[string]string{
		`{"model":"gpt-5"}`: "gpt-5",
		" {\n\t\"messages\" : [ { } , 1.5e-3, true,null ],\r\"model\" : \"a/b\" } ": "a/b",
		`{"m\u006fdel":"gpt\u002d5"}`:                "gpt-5",
		`{"a":"` + long + `","model":"m"}`:           "m",
		`{"a":{"model":"inner"},"model":"outer"}`:    "outer",
		`{"` + long + `":1,"model":"m"}`:             "m",
		`{"a":"\ud800","model":"m"}`:                 "m", // whose structure is plain
		`{"a":` + deep(maxDepth) + `,"model":"m"}`:   "m",
		`{"model":"é"}`:                              "é",
		`{"model":"*"}`:                              "*",
		`{"a":` + deep(maxDepth+2) + `,"model":"m"}`: "",
		`{"model":"a","model":"b"}`:                  "",
		`{"model":"a","model":"a"}`:                  "",
		`{"model":"a","m\u006fdel":"b"}`:             "",
		`{"model":"a","Model":"b"}`:                  "",
		`{"Model":"a"}`:                              "",
		`{"model":5}`:                                "",
		`{"model":null}`:                             "",
		`{"model":{"model":"a"}}`:                    "",
		`{"model":""}`:                               "",
		`{"model":" a"}`:                             "",
		`{"model":"a\nX-AI-User: b"}`:                "",
		`{"model":"\ud800"}`:                         "",
		"{\"model\":\"\xff\"}":                       "",
		`{"model":"` + long + `"}`:                   "",
		`{}`:                                         "",
		``:                                           "",
		`"model"`:                                    "",
		`[{"model":"a"}]`:                            "",
		`{"model":"a"`:                               "",
		`{"model":"a"}}`:                             "",
		`{"model":"a"}{"model":"b"}`:                 "",
		"{\"model\":\"a\"}\x00":                      "",
		`{"model":"a",}`:                             "",
		`{"model":"a" "b":1}`:                        "",
		`{"a":01,"model":"a"}`:                       "",
		`{"a":1.,"model":"a"}`:                       "",
		`{"a":+1,"model":"a"}`:                       "",
		`{"a":tru,"model":"a"}`:                      "",
		`{"a":[1,],"model":"a"}`:                     "",
		`{"a":[1},"model":"a"}`:                      "",
		`{"a":"\x","model":"a"}`:                     "",
		"{\"a\":\"\n\",\"model\":\"a\"}":             "",
		`{'model':'a'}`:                              "",
		"\ufeff" + `{"model":"a"}`:                   "",
	} {
		for name, from := range map[string]io.Reader{"whole": strings.NewReader(body), "byte by byte": iotest.OneByteReader(strings.NewReader(body))} {
			if got, _ := BodyModel(from); got.Name != want || got.Any {
				t.Errorf("%s, %s: model %q, want %q", cut(body), name, got.Name, want)
			}
		}
		broken := io.MultiReader(strings.NewReader(body), iotest.ErrReader(io.ErrUnexpectedEOF))
		if got, whole := BodyModel(broken); got.Known() || whole {
			t.Errorf("%s, broken off: model %q", cut(body), got.Name)
		}
	}
}

func cut(text string) string { return text[:min(len(text), 60)] }

// TestBodyModelReadsToTheEnd of each body, valid or not, and no further than its bound.
func TestBodyModelReadsToTheEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 100, 200_000} {
		rest := strings.NewReader(`{"model":}` + strings.Repeat(" ", size))
		if _, whole := BodyModel(rest); rest.Len() != 0 || !whole {
			t.Errorf("%d bytes are left of %d", rest.Len(), size)
		}
	}
	const start, end = `{"model":"m","a":"`, `"}`
	for size, want := range map[int]string{MaxBody - 1: "m", MaxBody: "m", MaxBody + 1: "", MaxBody * 2: ""} {
		body := io.MultiReader(strings.NewReader(start), io.LimitReader(endless{}, int64(size-len(start)-len(end))), strings.NewReader(end))
		counted := &counter{from: body}
		if got, whole := BodyModel(counted); got.Name != want || whole != (size <= MaxBody) {
			t.Errorf("%d bytes: model %q, want %q", size, got.Name, want)
		}
		if counted.n > MaxBody+bodyBuffer {
			t.Errorf("%d bytes are read", counted.n)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

type counter struct {
	from io.Reader
	n    int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n += n
	return n, err
}

// TestBodyModelHoldsLittle allocates for a body of 8 MiB in one string hardly more than for a small one.
func TestBodyModelHoldsLittle(t *testing.T) {
	body := []byte(`{"a":"` + strings.Repeat("x", 8<<20) + `","model":"m"}`)
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if model, _ := BodyModel(bytes.NewReader(body)); model.Name != "m" {
				b.Fatal("no model")
			}
		}
	})
	if held := result.AllocedBytesPerOp(); held > 256<<10 {
		t.Errorf("%d bytes are allocated for each body", held)
	}
	t.Logf("%s for 8 MiB", result)
}

// FuzzBodyModel compares with a JSON library, which holds whole strings.
func FuzzBodyModel(f *testing.F) {
	for _, body := range []string{`{"model":"gpt-5"}`, `{"a":[1,{"b":null}],"m\u006fdel":"x"}`, `{"model":"a","model":"b"}`, `{"a":"\ud83d\ude00","model":"😀"}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, _ := BodyModel(bytes.NewReader(body))
		if slow, _ := BodyModel(iotest.OneByteReader(bytes.NewReader(body))); got != slow {
			t.Fatal("another model when read byte by byte")
		}
		if want := libraryModel(body); got != want {
			t.Errorf("model %q, want %q", got.Name, want.Name)
		}
	})
}

func libraryModel(body []byte) Model {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if dec.PeekKind() != '{' {
		return Model{}
	}
	_, _ = dec.ReadToken()
	named, model := 0, Model{}
	for dec.PeekKind() == '"' {
		quoted, err := dec.ReadValue()
		if err != nil {
			return Model{}
		}
		name, nameErr := jsontext.AppendUnquote(nil, quoted)
		value, err := dec.ReadValue()
		if err != nil {
			return Model{}
		}
		if nameErr == nil && strings.EqualFold(string(name), "model") {
			named++
		}
		if text, err := jsontext.AppendUnquote(nil, value); nameErr == nil && string(name) == "model" && value.Kind() == '"' && err == nil {
			model = ModelNamed(string(text))
		}
	}
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '}' || named != 1 {
		return Model{}
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return Model{}
	}
	return model
}
