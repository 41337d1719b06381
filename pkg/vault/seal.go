package vault

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"golang.org/x/crypto/nacl/secretbox"

	"aiadmin/pkg/secret"
)

const nonceSize = 24

type nonce [nonceSize]byte

// sealed is the plaintext of our own form. The members are pointers so that a missing
// one is told from an empty one.
type sealed struct {
	User     *string `json:"user"`
	Provider *string `json:"provider"`
	Secret   *string `json:"secret"`
}

// errNotText: JSON cannot hold invalid bytes, and with others in their place another secret would come back.
var errNotText = errors.New("vault: the secret and its row must be UTF-8 text")

// Seal seals s for one row under the primary key. It fails only for text that is not UTF-8. Every
// call returns a different value, because the nonce is random.
func (r *KeyRing) Seal(userID, provider string, s secret.Text) (string, error) {
	plain := s.Reveal()
	message, err := json.Marshal(sealed{&userID, &provider, &plain})
	if err != nil {
		return "", errNotText // strings alone: nothing else can fail
	}
	var n nonce
	_, _ = rand.Read(n[:]) // never fails: the runtime ends the process instead
	return r.primary + ":" + sealRaw(r.keys[r.primary], n, message), nil
}

// sealRaw is PyNaCl's SecretBox(key).encrypt(message, nonce, Base64Encoder).
func sealRaw(k key, n nonce, message []byte) string {
	box := secretbox.Seal(n[:], message, (*[nonceSize]byte)(&n), k())
	return base64.StdEncoding.EncodeToString(box)
}

// openRaw is the reverse of sealRaw; ok is false when k does not open the box.
func openRaw(k key, box []byte) (message []byte, ok bool) {
	if len(box) < nonceSize+secretbox.Overhead {
		return nil, false
	}
	n := nonce(box)
	return secretbox.Open(nil, box[nonceSize:], (*[nonceSize]byte)(&n), k())
}

// decodeBox is strict: one box has one spelling. encoding/base64 skips line ends even
// in strict mode, hence the check.
func decodeBox(text string) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	box, err := base64.StdEncoding.Strict().DecodeString(text)
	return box, err == nil
}
