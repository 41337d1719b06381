package config

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	yamlFile = "config.yaml"
	maxYAML  = 1 << 20 // bytes; the parser bounds the depth
)

// document parses the file's one document; nil when it is empty, or no YAML at all.
func (p *problems) document(content string) *yaml.Node {
	switch {
	case len(content) > maxYAML:
		p.whole(fmt.Sprintf("must be at most %d bytes", maxYAML))
		return nil
	case !utf8.ValidString(content):
		p.whole("must be UTF-8 text")
		return nil
	}
	decoder := yaml.NewDecoder(strings.NewReader(content))
	root := p.next(decoder)
	if root != nil && len(*p) == 0 {
		if second := p.next(decoder); second != nil {
			p.add(second, "second document", "must not be there: one document is read")
		}
	}
	return root
}

// next is the root of the next document that is not empty; nil when there is none.
func (p *problems) next(decoder *yaml.Decoder) *yaml.Node {
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			p.whole("must be YAML: " + syntaxProblem(err))
			return nil
		}
		if root := document.Content[0]; root.ShortTag() != "!!null" {
			return root
		}
	}
}

func (p *problems) whole(want string) { *p = append(*p, fmt.Errorf("%s: %s", yamlFile, want)) }

// aliasName is the one thing of the file that the parser's messages repeat.
var aliasName = regexp.MustCompile(`(?s)unknown anchor '.*' referenced`)

func syntaxProblem(err error) string {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	return aliasName.ReplaceAllLiteralString(message, "an alias of nothing")
}
