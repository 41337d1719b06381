package config

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"aiadmin/pkg/auth"
)

// TokensFile is the key of the mounted folder `auth` that [ParseTokens] reads.
const TokensFile = "tokens.json"

// maxTokens bounds the list: each request compares with every token.
const maxTokens = 5000

// ParseTokens reads the mounted folder `auth`: its tokens.json is a JSON list of
// {"name","sha256","scopes","expiresAt"}, of which expiresAt may be left out. No such file
// means no tokens. The error joins every problem, one line each, as
// "tokens.json:<line>: <path>: <what is expected>".
func ParseTokens(files map[string]string) ([]auth.Token, error) {
	text, ok := files[TokensFile]
	if !ok {
		return nil, nil
	}
	found := problems{file: TokensFile}
	tokens := []auth.Token{}
	root := found.json(text)
	if root != nil {
		if !found.read(list(&tokens, 0, maxTokens, tokenEntry), root, "") {
			found.add(root, "", "must be a list: write [] for no tokens")
		}
		found.distinct(tokens, root)
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	return tokens, nil
}

func tokenEntry(t *auth.Token) field {
	return object(fields{
		"name":      text(&t.Name, tokenNameRule),
		"sha256":    digest(&t.SHA256),
		"scopes":    list(&t.Scopes, 1, len(auth.Scopes()), scope),
		"expiresAt": timestamp(&t.ExpiresAt),
	}, "name", "sha256", "scopes")
}

func tokenNameRule(written string) (string, string) {
	if err := auth.CheckTokenName(written); err != nil {
		return "", err.Error()
	}
	return written, ""
}

// digest reads a SHA-256 in hexadecimal.
func digest(into *[32]byte) field {
	return func(found *problems, n *yaml.Node, path string) {
		written, ok := textOf(n)
		decoded, err := hex.DecodeString(written)
		if !ok || err != nil || len(decoded) != len(into) {
			found.add(n, path, "must be 64 hexadecimal digits, the SHA-256 of the token")
			return
		}
		copy(into[:], decoded)
	}
}

// timestamp reads a time in RFC 3339.
func timestamp(into *time.Time) field {
	return func(found *problems, n *yaml.Node, path string) {
		written, ok := textOf(n)
		at, err := time.Parse(time.RFC3339, written)
		if !ok || err != nil || at.IsZero() {
			found.add(n, path, "must be a time in RFC 3339, such as 2027-01-31T00:00:00Z")
			return
		}
		*into = at.UTC()
	}
}

// distinct refuses a name or a token that two entries share. tokens is shorter than the file's list
// if the list itself was refused.
func (p *problems) distinct(tokens []auth.Token, root *yaml.Node) {
	names, hashes := map[string]int{}, map[[32]byte]int{}
	for i, token := range tokens {
		n, path := root.Content[i], fmt.Sprintf("[%d]", i)
		if first, again := names[token.Name]; again && token.Name != "" {
			p.add(n, path+".name", fmt.Sprintf("must be unique, but [%d] has the same name", first))
		} else {
			names[token.Name] = i
		}
		if first, again := hashes[token.SHA256]; again && token.SHA256 != [32]byte{} {
			p.add(n, path+".sha256", fmt.Sprintf("must be unique, but [%d] has the same token", first))
		} else {
			hashes[token.SHA256] = i
		}
	}
}

// json parses JSON into the nodes that a [field] reads; nil when it is malformed. A YAML parser
// will not do: it refuses tabs, and accepts more than JSON.
func (p *problems) json(content string) *yaml.Node {
	if !p.isText(content) {
		return nil
	}
	r := jsonReader{content: content, line: 1, dec: jsontext.NewDecoder(bytes.NewBufferString(content), jsontext.AllowDuplicateNames(true))}
	root, err := r.value()
	if err == nil {
		if _, end := r.dec.ReadToken(); !errors.Is(end, io.EOF) {
			err = errTrailing
		}
	}
	if err != nil {
		p.whole(fmt.Sprintf("must be a JSON list of {name, sha256, scopes}: it is malformed at line %d", r.at()))
		return nil
	}
	return root
}

var errTrailing = errors.New("data follows")

// jsonReader makes nodes of JSON, each with its line.
type jsonReader struct {
	content string
	dec     *jsontext.Decoder
	counted int64 // the offset up to which lines are counted
	line    int
}

// at returns the line that was read last.
func (r *jsonReader) at() int {
	offset := r.dec.InputOffset()
	r.line += strings.Count(r.content[r.counted:offset], "\n")
	r.counted = offset
	return r.line
}

var jsonTags = map[jsontext.Kind]string{'n': "!!null", 't': "!!bool", 'f': "!!bool", '"': "!!str", '0': "!!float"}

func (r *jsonReader) value() (*yaml.Node, error) {
	token, err := r.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch kind := token.Kind(); kind {
	case '{':
		return r.contents(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: r.at()}, '}')
	case '[':
		return r.contents(&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: r.at()}, ']')
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: jsonTags[kind], Value: token.String(), Line: r.at()}, nil
	}
}

func (r *jsonReader) contents(n *yaml.Node, end jsontext.Kind) (*yaml.Node, error) {
	for r.dec.PeekKind() != end {
		child, err := r.value()
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, child)
	}
	_, err := r.dec.ReadToken()
	return n, err
}
