package scim

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"aiadmin/pkg/user"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a filter or path.
const (
	maxFilterBytes = 4 << 10
	maxFilterDepth = 20  // parentheses and brackets open at once
	maxFilterTerms = 100 // comparisons
)

// ParseFilter reads a filter (RFC 7644, section 3.4.2.2). Names, URNs and operators are read in
// any case. A value may also be a bare word without blanks. Any error is [InvalidFilter]. Others
// are the further types of the same search: an attribute that only they have is absent here (RFC 7644, section
// 3.4.2.1).
func (t *ResourceType) ParseFilter(filter string, others ...*ResourceType) (Filter, error) {
	p, err := newParser(t, filter)
	if err != nil {
		return nil, err
	}
	p.others = others
	f, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.skip(); p.rest != "" {
		return nil, p.errorf("expected and, or, or the end")
	}
	return f, nil
}

// parser reads one filter or path by recursive descent.
type parser struct {
	types       *ResourceType
	others      []*ResourceType
	foreign     bool // the last attribute is one of the others'
	text, rest  string
	within      *AttributePath // the attribute of the value path that is being read
	depth, term int
}

func newParser(t *ResourceType, text string) (*parser, error) {
	if len(text) > maxFilterBytes {
		return nil, Errorf(InvalidFilter, "the filter has %d bytes; at most %d are read", len(text), maxFilterBytes)
	}
	if !utf8.ValidString(text) {
		return nil, Errorf(InvalidFilter, "the filter is not UTF-8")
	}
	return &parser{types: t, text: text, rest: text}, nil
}

func (p *parser) errorf(format string, args ...any) error {
	at := "at byte " + strconv.Itoa(len(p.text)-len(p.rest)+1) + ": "
	return Errorf(InvalidFilter, at+format, args...)
}

func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// word returns the leading characters up to a blank or one of the delimiters, and consumes them.
func (p *parser) word(delimiters string) string {
	n := strings.IndexAny(p.rest, " \t\r\n"+delimiters)
	if n < 0 {
		n = len(p.rest)
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	return word
}

// keyword consumes a word in any case, if it comes next.
func (p *parser) keyword(keyword string) bool {
	p.skip()
	before := p.rest
	if strings.EqualFold(p.word("()[]\""), keyword) {
		return true
	}
	p.rest = before
	return false
}

// char consumes c if it comes next.
func (p *parser) char(c byte) bool {
	p.skip()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) or() (Filter, error) {
	return p.list("or", p.and, func(f []Filter) Filter { return Or(f) })
}

func (p *parser) and() (Filter, error) {
	return p.list("and", p.factor, func(f []Filter) Filter { return And(f) })
}

func (p *parser) list(keyword string, next func() (Filter, error), join func([]Filter) Filter) (Filter, error) {
	var all []Filter
	for {
		f, err := next()
		if err != nil {
			return nil, err
		}
		all = append(all, f)
		if !p.keyword(keyword) {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return join(all), nil
}

func (p *parser) factor() (Filter, error) {
	if p.char('(') {
		return p.nested(')')
	}
	before := p.rest
	if p.keyword("not") && p.char('(') {
		f, err := p.nested(')')
		return Not{f}, err
	}
	p.rest = before
	return p.comparison()
}

// nested reads what follows an opening parenthesis or bracket, up to the one that closes it.
func (p *parser) nested(closing byte) (Filter, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, p.errorf("parentheses may be at most %d deep", maxFilterDepth)
	}
	f, err := p.or()
	if err == nil && !p.char(closing) {
		err = p.errorf("expected %q", string(closing))
	}
	p.depth--
	return f, err
}

func (p *parser) comparison() (Filter, error) {
	if p.term++; p.term > maxFilterTerms {
		return nil, p.errorf("a filter may have at most %d comparisons", maxFilterTerms)
	}
	path, err := p.attribute()
	if err != nil {
		return nil, err
	}
	foreign, read := p.foreign, p.compare
	if p.within == nil && p.rest != "" && p.rest[0] == '[' {
		read = p.valuePath
	}
	f, err := read(path)
	if err == nil && foreign {
		return Constant(f.match(Object{})), nil
	}
	return f, err
}

// attribute reads an attribute's name or, within brackets, a sub-attribute's.
func (p *parser) attribute() (AttributePath, error) {
	p.skip()
	start := p.rest
	name := p.word("()[]\"")
	path, ok := AttributePath{}, false
	p.foreign = false
	switch {
	case name == "":
		return path, p.errorf("expected an attribute")
	case p.within == nil:
		path, ok = p.types.ParseAttribute(name)
		for i := 0; i < len(p.others) && path.Attribute == nil; i++ {
			path, ok = p.others[i].ParseAttribute(name)
			p.foreign = true
		}
		ok = ok && path.Attribute != nil
	default:
		path = *p.within
		path.Sub = path.Attribute.sub(name)
		ok = path.Sub != nil || path.Attribute.Type != Complex && strings.EqualFold(name, "value")
	}
	if !ok {
		p.rest = start
		return path, p.errorf("unknown attribute %s", quote(name))
	}
	return path, nil
}

// brackets reads the filter of a value path, with its brackets.
func (p *parser) brackets(path AttributePath) (Filter, error) {
	if path.Sub != nil || path.Attribute.Type != Complex && !path.Attribute.MultiValued {
		return nil, p.errorf("%s takes no filter in brackets", path)
	}
	p.char('[')
	p.within = &path
	defer func() { p.within = nil }()
	return p.nested(']')
}

func (p *parser) valuePath(path AttributePath) (Filter, error) {
	f, err := p.brackets(path)
	if err != nil {
		return nil, err
	}
	if p.rest == "" || p.rest[0] != '.' {
		return ValuePath{path, f}, nil
	}
	p.rest = p.rest[1:]
	p.within = &path
	defer func() { p.within = nil }()
	sub, err := p.attribute()
	if err != nil {
		return nil, err
	}
	compared, err := p.compare(sub)
	return ValuePath{path, And{f, compared}}, err
}

// compare reads an operator and its value.
func (p *parser) compare(path AttributePath) (Filter, error) {
	p.skip()
	op := Operator(strings.ToLower(p.word("()[]\"")))
	switch op {
	case Present:
		return Compare{Path: path, Op: Present, within: p.within != nil}, nil
	case Equal, NotEqual, Contains, StartsWith, EndsWith, Greater, GreaterOrEqual, Less, LessOrEqual:
	default:
		return nil, p.errorf("unknown operator %s: use eq, ne, co, sw, ew, pr, gt, ge, lt or le", quote(string(op)))
	}
	literal, quoted, err := p.literal()
	if err != nil {
		return nil, err
	}
	if !quoted && literal == "null" {
		present := Compare{Path: path, Op: Present, within: p.within != nil}
		switch op {
		case Equal:
			return Not{present}, nil
		case NotEqual:
			return present, nil
		}
		return nil, p.errorf("null goes with eq and ne alone, not with %s", op)
	}
	if leaf := path.leaf(); leaf.Type == Complex && leaf.sub("value") != nil {
		path.Sub = leaf.sub("value") // RFC 7644, section 3.4.2.2: emails co "example.com"
	}
	value, err := p.typed(path, op, literal, quoted)
	return Compare{path, op, value, p.within != nil, path.leaf().fold(literal)}, err
}

// literal reads a JSON string, or a word up to a blank or closing bracket.
func (p *parser) literal() (value string, quoted bool, err error) {
	p.skip()
	if p.rest == "" || p.rest[0] != '"' {
		if value = p.word(")]"); value == "" {
			return "", false, p.errorf("expected a value")
		}
		return value, false, nil
	}
	end := 1
	for end < len(p.rest) && p.rest[end] != '"' {
		if p.rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(p.rest) {
		return "", true, p.errorf("the string has no closing quote")
	}
	unquoted, err := jsontext.AppendUnquote(nil, p.rest[:end+1])
	if err != nil {
		return "", true, p.errorf("not a JSON string in UTF-8")
	}
	p.rest = p.rest[end+1:]
	return string(unquoted), true, nil
}

// typed converts a literal to the type of the attribute, which must have the operator.
func (p *parser) typed(path AttributePath, op Operator, literal string, quoted bool) (any, error) {
	leaf := path.leaf()
	substring := op == Contains || op == StartsWith || op == EndsWith
	ordered := !substring && op != Equal && op != NotEqual
	var (
		value any
		ok    bool
	)
	switch leaf.Type {
	case String, Reference:
		return literal, nil
	case Boolean:
		value, ok = parseBool(literal)
		ok = ok && !ordered && !substring
	case Integer:
		value, ok = parseInteger(literal)
		ok = ok && !quoted && !substring
	case DateTime:
		value, ok = parseDateTime(literal)
		ok = ok && !substring
	case Complex:
	}
	if !ok {
		return nil, p.errorf("%s is of type %s: it cannot be compared by %s with %s", path, leaf.Type, op, quote(literal))
	}
	return value, nil
}

// parseBool reads true and false in any case: Entra writes "True" and "False".
func parseBool(s string) (value, ok bool) {
	return strings.EqualFold(s, "true"), strings.EqualFold(s, "true") || strings.EqualFold(s, "false")
}

// parseInteger reads a JSON number that is whole, as 1.0 and 1e2 are, and that every JSON reader keeps exact
// (RFC 7493, section 2.2).
func parseInteger(s string) (int64, bool) {
	literal := jsontext.Value(s)
	if literal.Kind() != '0' || !literal.IsValid() {
		return 0, false
	}
	digits, negative := strings.CutPrefix(s, "-")
	n, problem := user.Scaled(jsontext.Value(digits), 0)
	if negative {
		n = -n
	}
	return n, problem == ""
}

// parseDateTime reads an xsd:dateTime (RFC 7643, section 2.3.5); without a zone it is UTC.
func parseDateTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
