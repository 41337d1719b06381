package vault

import (
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/secret"
)

// Open opens a stored value of the row (userID, provider), in either form. Its errors
// match [ErrRefused] and one of [ErrTampered], [ErrWrongRow], [ErrUnknownKey] and [ErrNotText].
func (r *KeyRing) Open(userID, provider, stored string) (secret.Text, error) {
	id, text, ours := strings.Cut(stored, ":")
	if !ours {
		return r.openOld(stored)
	}
	if !isKeyID(id) {
		return secret.Text{}, ErrTampered
	}
	k, known := r.keys[id]
	if !known {
		return secret.Text{}, ErrUnknownKey
	}
	box, ok := decodeBox(text)
	if !ok {
		return secret.Text{}, ErrTampered
	}
	message, ok := openRaw(k, box)
	if !ok {
		return secret.Text{}, ErrTampered
	}
	return forRow(message, userID, provider)
}

// forRow returns the secret in a message of our own form. An old message that somebody gave a key
// id is refused here, because it does not have that form.
func forRow(message []byte, userID, provider string) (secret.Text, error) {
	m, ok := decodeSealed(message)
	switch {
	case !ok:
		return secret.Text{}, ErrTampered
	case *m.User != userID || *m.Provider != provider:
		return secret.Text{}, ErrWrongRow
	}
	return secret.New(*m.Secret), nil
}

// openOld tries every key. A message of our own form is refused: with its key id cut
// off, a value copied from another row would pass for the old function's, and show that
// row's secret.
func (r *KeyRing) openOld(text string) (secret.Text, error) {
	box, ok := decodeBox(text)
	if !ok {
		return secret.Text{}, ErrTampered
	}
	for _, id := range r.ids {
		message, ok := openRaw(r.keys[id], box)
		if !ok {
			continue
		}
		if _, ours := decodeSealed(message); ours {
			return secret.Text{}, ErrTampered
		}
		if !utf8.Valid(message) { // it could neither be given to a client nor be sealed again
			return secret.Text{}, ErrNotText
		}
		return secret.New(string(message)), nil
	}
	return secret.Text{}, ErrTampered
}

func decodeSealed(message []byte) (m sealed, ok bool) {
	err := json.Unmarshal(message, &m, json.RejectUnknownMembers(true))
	return m, err == nil && m.User != nil && m.Provider != nil && m.Secret != nil
}

// KeyID is the id of the key that a stored value names; empty for the old function's.
func KeyID(stored string) string {
	id, _, ours := strings.Cut(stored, ":")
	if !ours || !isKeyID(id) {
		return ""
	}
	return id
}
