package vault

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"aiadmin/pkg/secret"
)

// keySize is secretbox's key size in bytes.
const keySize = 32

// key hands out a key's bytes. It is a function because fmt prints an unexported field
// of any other type, through pointers too (%s does), without asking its methods.
type key func() *[keySize]byte

func newKey(raw [keySize]byte) key { return func() *[keySize]byte { return &raw } }

// NewKey makes a random key, as the text a key file holds (hex).
func NewKey() secret.Text {
	var raw [keySize]byte
	_, _ = rand.Read(raw[:]) // never fails: the runtime ends the process instead
	return secret.New(hex.EncodeToString(raw[:]))
}

// parseKey reads hex (64 digits) or base64 (standard or URL alphabet, padded or not).
// No text is both: 64 characters of base64 are 48 bytes.
func parseKey(text string) (key, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		standard := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		raw, err = base64.RawStdEncoding.DecodeString(standard)
	}
	if err != nil || len(raw) != keySize {
		return nil, errors.New("must be a 32-byte key: 64 hexadecimal digits, or base64 (44 characters)")
	}
	return newKey([keySize]byte(raw)), nil
}
