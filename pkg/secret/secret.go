// Package secret holds the one type that plain-text secrets travel in.
package secret

import (
	"fmt"
	"log/slog"
	"unique"
)

const redacted = "[redacted]"

// Text is a secret in plain text: a provider credential, a password, a bearer token.
// Every ordinary way out (fmt verbs, JSON, text encoding, slog) prints "[redacted]";
// Reveal is the only one that does not, so that a search for it lists every place
// where a secret leaves.
//
// The text is behind a handle since fmt prints what is in a struct's unexported fields
// without asking their methods: it finds an address there. Equal texts compare equal.
type Text struct{ plain unique.Handle[string] }

// New wraps plain text.
func New(plain string) Text { return Text{unique.Make(plain)} }

// Reveal returns the plain text.
func (t Text) Reveal() string {
	if t == (Text{}) {
		return ""
	}
	return t.plain.Value()
}

// Len is the secret's length in bytes.
func (t Text) Len() int { return len(t.Reveal()) }

// Format implements [fmt.Formatter], and so covers %v, %+v, %#v, %s, %q and %x alike.
func (Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String implements [fmt.Stringer].
func (Text) String() string { return redacted }

// MarshalText implements [encoding.TextMarshaler], which JSON and YAML encoders use.
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }
