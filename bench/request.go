package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// Twelve letters stand in a request's text for the number of the user it is about, and
// for a number that no other request has.
const (
	subjectMark = "NNNNNNNNNNNN"
	freshMark   = "MMMMMMMMMMMM"
	digits      = len(subjectMark)
)

// template is a request whose numbers are overwritten in place before each use.
type template struct {
	text           []byte
	subject, fresh []int // where the numbers go
}

// raw writes a request as it goes over the wire.
func raw(method, path, token string, header map[string]string, body string) template {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: ai-admin\r\n", method, path)
	if header["x-api-key"] == "" { // or the token would be a second key
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	for name, value := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	text := b.Bytes()
	return template{text, marksIn(text, subjectMark), marksIn(text, freshMark)}
}

func marksIn(text []byte, mark string) []int {
	var found []int
	for at := 0; ; at += len(mark) {
		i := bytes.Index(text[at:], []byte(mark))
		if i < 0 {
			return found
		}
		at += i
		found = append(found, at)
	}
}

// copied is the template for one connection, which writes its own numbers into it.
func (t template) copied() template {
	t.text = bytes.Clone(t.text)
	return t
}

// fill writes the numbers. Of several places for a subject, each block of perSubject gets
// the next number: a batch is about as many users as it has events.
func (t template) fill(n, m int64, subjects int) {
	each := max(1, len(t.subject)/max(1, subjects))
	for i, at := range t.subject {
		writeDigits(t.text[at:at+digits], n+int64(i/each))
	}
	each = max(1, len(t.fresh)/max(1, subjects))
	for i, at := range t.fresh {
		writeDigits(t.text[at:at+digits], m+int64(i/each))
	}
}

func writeDigits(dst []byte, n int64) {
	var buf [20]byte
	copy(dst, strconv.AppendInt(buf[:0], n, 10))
}
