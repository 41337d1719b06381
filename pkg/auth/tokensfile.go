package auth

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// TokensFile is the key of the mounted folder `auth` that ParseTokens reads.
const TokensFile = "tokens.json"

// maxTokensFile is what Kubernetes allows a whole Secret, in bytes.
const maxTokensFile = 1 << 20

// ParseTokens reads the mounted folder `auth`: its tokens.json is a list of
// {"name","sha256","scopes"}. No such file means no tokens. The error joins every problem
// there is, each beginning with the file and naming place and what is expected, and never a value.
func ParseTokens(files map[string]string) ([]Token, error) {
	text, ok := files[TokensFile]
	if !ok {
		return nil, nil
	}
	r := tokensReader{tokens: []Token{}, names: map[string]int{}, hashes: map[[32]byte]int{}}
	r.read(text)
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return r.tokens, nil
}

type tokensReader struct {
	tokens   []Token
	names    map[string]int   // where each name was seen first
	hashes   map[[32]byte]int // and each hash
	problems []error
}

func (r *tokensReader) problem(place, expected string) {
	if place != "" {
		place += ": "
	}
	r.problems = append(r.problems, fmt.Errorf("%s: %s%s", TokensFile, place, expected))
}

func (r *tokensReader) read(text string) {
	if len(text) > maxTokensFile {
		r.problem("", "expected at most 1 MiB")
		return
	}
	var entries []jsontext.Value
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		r.problem("", "expected a JSON list of {name, sha256, scopes}"+where(err))
		return
	}
	if entries == nil { // null decodes without an error
		r.problem("", "expected a JSON list of {name, sha256, scopes}")
	}
	for i, entry := range entries {
		r.readEntry(i, entry)
	}
}

// where names the place of a syntax error and not its text, which quotes the file.
func where(err error) string {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "; a key is there twice in one object"
	case errors.As(err, &syntax):
		return fmt.Sprintf("; it is malformed at byte %d", syntax.ByteOffset)
	}
	return ""
}

func (r *tokensReader) readEntry(i int, entry jsontext.Value) {
	place := fmt.Sprintf("[%d]", i)
	var members map[string]jsontext.Value
	if err := json.Unmarshal(entry, &members); err != nil || members == nil {
		r.problem(place, "expected an object {name, sha256, scopes}")
		return
	}
	r.rejectUnknown(place, members)
	r.tokens = append(r.tokens, Token{
		Name:   r.readName(i, members["name"]),
		SHA256: r.readHash(i, members["sha256"]),
		Scopes: r.readScopes(place+".scopes", members["scopes"]),
	})
}

func (r *tokensReader) rejectUnknown(place string, members map[string]jsontext.Value) {
	var unknown []string
	for key := range members {
		switch {
		case key == "name" || key == "sha256" || key == "scopes":
		case len(key) > 32: // long enough to be a token pasted in the wrong place
			unknown = append(unknown, "a key of over 32 bytes")
		default:
			unknown = append(unknown, fmt.Sprintf("%q", key))
		}
	}
	slices.Sort(unknown)
	for _, key := range unknown {
		r.problem(place, "expected only name, sha256 and scopes, not "+key)
	}
}

func (r *tokensReader) readName(i int, value jsontext.Value) string {
	place := fmt.Sprintf("[%d].name", i)
	var name string
	if value.Kind() != '"' || json.Unmarshal(value, &name) != nil {
		r.problem(place, "expected a string")
		return ""
	}
	if err := checkName(name); err != nil {
		r.problem(place, err.Error())
		return ""
	}
	if first, again := r.names[name]; again {
		r.problem(place, fmt.Sprintf("expected a name of its own, but [%d] has the same", first))
		return ""
	}
	r.names[name] = i
	return name
}

func (r *tokensReader) readHash(i int, value jsontext.Value) (hash [32]byte) {
	place := fmt.Sprintf("[%d].sha256", i)
	var text string
	if value.Kind() == '"' && json.Unmarshal(value, &text) != nil || len(text) != hex.EncodedLen(len(hash)) {
		r.problem(place, "expected 64 hexadecimal digits, the SHA-256 of the token")
		return hash
	}
	if _, err := hex.Decode(hash[:], []byte(text)); err != nil {
		r.problem(place, "expected 64 hexadecimal digits, the SHA-256 of the token")
		return hash
	}
	if first, again := r.hashes[hash]; again {
		r.problem(place, fmt.Sprintf("expected a token of its own, but [%d] has the same", first))
		return hash
	}
	r.hashes[hash] = i
	return hash
}

func (r *tokensReader) readScopes(place string, value jsontext.Value) []Scope {
	var values []jsontext.Value
	if value.Kind() != '[' || json.Unmarshal(value, &values) != nil || len(values) == 0 {
		r.problem(place, "expected a list of at least one of "+scopeNames())
		return nil
	}
	scopes := make([]Scope, 0, len(values))
	for i, value := range values {
		var name string
		_ = json.Unmarshal(value, &name) // no string: the empty name, which is no scope
		scope, err := ParseScope(name)
		if err != nil {
			r.problem(fmt.Sprintf("%s[%d]", place, i), err.Error())
			continue
		}
		scopes = append(scopes, scope)
	}
	return scopes
}
