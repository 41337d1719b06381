package access

import (
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxBody bounds the body that [BodyModel] reads, in bytes.
const MaxBody = 32 << 20

// Bounds of what is held of a body, whatever its size. A JSON library holds each string whole, and
// a request with images in it has strings of many megabytes: this scanner holds one buffer.
const (
	bodyBuffer = 32 << 10 // bytes
	keptText   = 8 << 10  // bytes of a string that may be a member's name or the model
	maxDepth   = 1000     // levels of arrays and objects
)

// BodyModel returns the model that a request's JSON body names in its member "model". It reads to
// the end, at most [MaxBody] bytes, and holds about 40 KiB; whole says whether the end was reached.
//
// The model is unknown when a provider might read another one: the body is not one whole JSON
// object (RFC 8259), or has no such member, or two of them; names that differ only in case count,
// since some parsers take those too.
func BodyModel(from io.Reader) (model Model, whole bool) {
	s, _ := scanners.Get().(*scanner)
	defer scanners.Put(s)
	s.reset(from)
	model = s.object()
	valid := s.token() == 0 && !s.failed
	for s.more() { // what is left of a body that is not valid
		s.at = s.end
	}
	if !valid || !s.ended {
		model = Model{}
	}
	return model, s.ended
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// scanner reads JSON byte by byte. Once it has failed, it returns zeros.
type scanner struct {
	from    io.Reader
	at, end int // what is left of buffer
	read    int // bytes so far
	failed  bool
	ended   bool   // all of it has been read
	closers []byte // of the arrays and objects that are open, outermost first
	text    []byte // the string that was read last, as far as it is kept
	buffer  [bodyBuffer]byte
}

func (s *scanner) reset(from io.Reader) {
	s.from, s.at, s.end, s.read, s.failed, s.ended = from, 0, 0, 0, false, false
	s.closers = s.closers[:0]
}

// more says whether there is a byte to look at.
func (s *scanner) more() bool {
	for s.at == s.end {
		if s.read > MaxBody {
			return false
		}
		n, err := s.from.Read(s.buffer[:])
		s.at, s.end, s.read = 0, n, s.read+n
		if n == 0 && err != nil {
			s.ended = err == io.EOF
			return false
		}
	}
	return true
}

// next returns the next byte, 0 at the end; a byte 0 is no JSON and a failure.
func (s *scanner) next() byte {
	if s.failed || !s.more() {
		return 0
	}
	c := s.buffer[s.at]
	s.at++
	s.failed = c == 0
	return c
}

// token returns the next byte that is no white space, 0 at the end.
func (s *scanner) token() byte {
	for {
		switch c := s.next(); c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
}

func (s *scanner) fail() byte {
	s.failed = true
	return 0
}

// object reads the outermost object and returns the model that it names.
func (s *scanner) object() (model Model) {
	if s.token() != '{' {
		s.fail()
		return Model{}
	}
	c, named := s.token(), 0
	for c != '}' {
		name, value := s.member(c)
		if strings.EqualFold(name, "model") {
			named++
		}
		if name == "model" && value == '"' {
			model = ModelNamed(s.string())
		} else {
			s.skip(value)
		}
		if c = s.token(); c == ',' {
			c = s.token()
			if c == '}' {
				s.fail()
			}
		} else if c != '}' {
			s.fail()
		}
		if s.failed {
			return Model{}
		}
	}
	if named != 1 {
		return Model{}
	}
	return model
}

// member reads a member's name, which first begins, and the colon. It returns the name, empty
// when it is too long to matter, and the first byte of the value.
func (s *scanner) member(first byte) (name string, value byte) {
	if first != '"' {
		return "", s.fail()
	}
	name = s.string()
	if s.token() != ':' {
		return "", s.fail()
	}
	return name, s.token()
}

// skip reads the rest of a value that begins with c, and all that is in it.
func (s *scanner) skip(c byte) {
	for !s.failed {
		switch c {
		case '{', '[':
			closer := c + 2 // as ASCII has them
			if c = s.token(); c != closer {
				c = s.open(closer, c)
				continue
			}
		case '"':
			s.string()
		default:
			s.scalar(c)
		}
		if c = s.after(); c == 0 {
			return
		}
	}
}

// open enters an array or object that is not empty, and returns the first byte of its first value.
func (s *scanner) open(closer, c byte) byte {
	if len(s.closers) == maxDepth {
		return s.fail()
	}
	s.closers = append(s.closers, closer)
	if closer == '}' {
		_, c = s.member(c)
	}
	return c
}

// after reads what follows a value: it leaves arrays and objects that end there, and returns the
// first byte of the next value, 0 when the outermost one has ended.
func (s *scanner) after() byte {
	for last := len(s.closers) - 1; last >= 0; last-- {
		switch c := s.token(); {
		case c == s.closers[last]:
			s.closers = s.closers[:last]
		case c != ',':
			return s.fail()
		case s.closers[last] == '}':
			_, value := s.member(s.token())
			return value
		default:
			return s.token()
		}
	}
	return 0
}

// string reads the rest of a string, after its quote. It returns the text, empty when it is longer
// than what is kept or not valid Unicode.
func (s *scanner) string() string {
	s.text = append(s.text[:0], '"')
	for {
		s.plain()
		c := s.next()
		s.keep(c)
		switch {
		case c < ' ':
			s.fail()
			return ""
		case c == '\\':
			s.escape()
		case c == '"':
			return s.unquoted()
		}
	}
}

// plain reads the characters of a string that stand for themselves, as far as they are buffered.
func (s *scanner) plain() {
	from := s.at
	for s.at < s.end && s.buffer[s.at] != '"' && s.buffer[s.at] != '\\' && s.buffer[s.at] >= ' ' {
		s.at++
	}
	if fits := keptText + 1 - len(s.text); fits > 0 {
		s.text = append(s.text, s.buffer[from:min(s.at, from+fits)]...)
	}
}

// escape reads the rest of an escape sequence, after its backslash.
func (s *scanner) escape() {
	c := s.next()
	s.keep(c)
	if c == 'u' {
		for range 4 {
			c = s.next()
			s.keep(c)
			if strings.IndexByte("0123456789abcdefABCDEF", c) < 0 {
				s.fail()
			}
		}
	} else if strings.IndexByte(`"\/bfnrt`, c) < 0 {
		s.fail()
	}
}

func (s *scanner) keep(c byte) {
	if len(s.text) <= keptText {
		s.text = append(s.text, c)
	}
}

func (s *scanner) unquoted() string {
	if len(s.text) > keptText {
		return ""
	}
	text, err := jsontext.AppendUnquote(nil, s.text)
	if err != nil {
		return ""
	}
	return string(text)
}

// scalar reads the rest of a number, true, false or null that begins with c.
func (s *scanner) scalar(c byte) {
	switch c {
	case 't':
		s.literal("rue")
	case 'f':
		s.literal("alse")
	case 'n':
		s.literal("ull")
	default:
		s.number(c)
	}
}

func (s *scanner) literal(rest string) {
	for i := range len(rest) {
		if s.next() != rest[i] {
			s.fail()
		}
	}
}

// number reads a number (RFC 8259, section 6).
func (s *scanner) number(c byte) {
	if c == '-' {
		c = s.next()
	}
	switch {
	case c >= '1' && c <= '9':
		s.digits()
	case c != '0':
		s.fail()
	}
	if s.skipOne(".") {
		s.someDigits()
	}
	if s.skipOne("eE") {
		s.skipOne("+-")
		s.someDigits()
	}
}

// skipOne skips the next byte when it is one of those given.
func (s *scanner) skipOne(of string) bool {
	if s.failed || !s.more() || strings.IndexByte(of, s.buffer[s.at]) < 0 {
		return false
	}
	s.at++
	return true
}

func (s *scanner) digits() (some bool) {
	for s.skipOne("0123456789") {
		some = true
	}
	return some
}

func (s *scanner) someDigits() {
	if !s.digits() {
		s.fail()
	}
}
