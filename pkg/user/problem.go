package user

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	validation "github.com/go-ozzo/ozzo-validation/v4"
)

// Problem is one thing that is wrong with a request's content.
type Problem struct {
	// Field is a JSON path such as limits.tokensPerMinute or models[3], or the name of a
	// query parameter or header.
	Field string `json:"field"`
	// Code is stable, for programs; Message is for people.
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Problems collects everything wrong with one request, so that a client sees it all at once.
type Problems []Problem

// Bounds of an answer: a body with a million unknown fields gets the first problems, which
// take at most 64 KiB of JSON together.
const (
	maxProblems = 100
	maxField    = 256 // bytes of JSON; a longer field is cut
	maxMessage  = 300
)

// Add notes a problem, unless there are enough of them. A field that a client has named may be no UTF-8, which
// no answer can hold.
func (p *Problems) Add(field, code, format string, args ...any) {
	if !p.full() {
		*p = append(*p, Problem{cut(strings.ToValidUTF8(field, "\uFFFD"), maxField), code, cut(fmt.Sprintf(format, args...), maxMessage)})
	}
}

func (p *Problems) full() bool { return len(*p) >= maxProblems }

// addOnce notes a problem unless its field has one.
func (p *Problems) addOnce(field, code, format string, args ...any) {
	if !p.has(field) {
		p.Add(field, code, format, args...)
	}
}

// cut shortens a text that is longer than most bytes as JSON.
func cut(text string, most int) string {
	const ellipsis = "…"
	end, size := 0, 0 // where to cut, and the size of all before
	for i := 0; i < len(text); {
		r, width := utf8.DecodeRuneInString(text[i:])
		i += width
		switch {
		case r < ' ': // an escape such as \u0001
			size += 6
		case r == '"', r == '\\':
			size += 2
		default:
			size += utf8.RuneLen(r)
		}
		if size > most {
			return text[:end] + ellipsis
		}
		if size <= most-len(ellipsis) {
			end = i
		}
	}
	return text
}

// Err is nil without problems, else an [Invalid] error that carries them.
func (p Problems) Err() error {
	switch len(p) {
	case 0:
		return nil
	case 1:
		return &Error{Kind: Invalid, Message: "1 field is invalid", Problems: p}
	default:
		return &Error{Kind: Invalid, Message: fmt.Sprintf("%d fields are invalid", len(p)), Problems: p}
	}
}

// check notes what ozzo's rules say of value. A rule that fails for a reason of its own
// (an ozzo InternalError) is a fault of this package and reported as one.
func (p *Problems) check(field string, value any, rules ...validation.Rule) {
	err := validation.Validate(value, rules...)
	if err == nil {
		return
	}
	if internal, ok := errors.AsType[validation.InternalError](err); ok {
		panic(fmt.Errorf("rule of %s: %w", field, internal.InternalError()))
	}
	known, ok := errors.AsType[validation.Error](err)
	if !ok {
		panic(fmt.Errorf("rule of %s: %w", field, err))
	}
	p.Add(field, known.Code(), "%s", known.Error())
}

func (p Problems) has(field string) bool {
	return slices.ContainsFunc(p, func(problem Problem) bool { return problem.Field == field })
}

func (p Problems) summary() string {
	parts := make([]string, len(p))
	for i, problem := range p {
		parts[i] = problem.loggable() + " " + problem.Message
	}
	return strings.Join(parts, "; ")
}

// loggable returns the field, with * for a name that the client chose. If a client swaps a name and its
// value, the name is a secret: the client's own answer may show it, a log must not.
func (p Problem) loggable() string {
	parent, _, nested := strings.Cut(p.Field, ".")
	madeUp := p.Code == codeUnknown || p.Code == codeParam || p.Code == codeNUL
	switch {
	case nested && (parent == "credentials" || parent == "metadata" || parent == "limits" && madeUp):
		return parent + ".*"
	case madeUp:
		return "*"
	default:
		return p.Field
	}
}

// The codes of problems that no ozzo rule finds.
const (
	codeType     = "validation_type"
	codeUnknown  = "validation_unknown_field"
	codeReadOnly = "validation_read_only"
	codeNull     = "validation_not_null"
	codeNUL      = "validation_nul_character"
	codeRange    = "validation_out_of_range"
	codeMismatch = "validation_mismatch"
	codeDepth    = "validation_too_deep"
	codeSize     = "validation_too_large"
	codeParam    = "validation_unknown_parameter"
	codeRepeated = "validation_repeated_parameter"
	codeFormat   = "validation_format"
	codeCursor   = "validation_cursor"
)
