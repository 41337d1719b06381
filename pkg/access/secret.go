package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"

	"aiadmin/pkg/secret"
)

// secretPrefix starts every key's secret, so that scanners for leaked secrets find it.
const secretPrefix = "aik_"

const (
	randomBytes  = 32
	randomDigits = 43 // of base 62: enough for 256 bits
	checkDigits  = 6  // of base 62: enough for a CRC-32
	secretLength = len(secretPrefix) + randomDigits + checkDigits
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Hash is what is stored of a secret: SHA-256 of a label, a zero byte and the secret. Secrets have
// 256 random bits, so that a fast hash cannot be searched backwards.
type Hash [sha256.Size]byte

// Secret is a key's secret whose format and checksum are right.
type Secret struct{ text secret.Text }

// NewSecret makes a random secret.
func NewSecret() Secret {
	var random [randomBytes]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	return secretOf(random)
}

// secretOf spells 256 bits as a secret.
func secretOf(random [randomBytes]byte) Secret {
	body := secretPrefix + digits(new(big.Int).SetBytes(random[:]), randomDigits)
	return Secret{secret.New(body + checksum(body))}
}

// ParseSecret reads a secret as a client presents it. It returns false for anything that cannot be
// a secret of ours, without looking anything up: another length, prefix, alphabet or checksum.
func ParseSecret(presented string) (Secret, bool) {
	if len(presented) != secretLength || !strings.HasPrefix(presented, secretPrefix) {
		return Secret{}, false
	}
	for _, c := range []byte(presented[len(secretPrefix):]) {
		if strings.IndexByte(base62, c) < 0 {
			return Secret{}, false
		}
	}
	body := presented[:secretLength-checkDigits]
	if checksum(body) != presented[len(body):] {
		return Secret{}, false
	}
	return Secret{secret.New(presented)}, true
}

// Text returns the secret, to be shown once to whoever made the key.
func (s Secret) Text() secret.Text { return s.text }

// Hash returns what is stored of the secret, and what it is found by.
func (s Secret) Hash() Hash {
	return sha256.Sum256([]byte("ai-admin key v1\x00" + s.text.Reveal()))
}

// Hint returns what a read shows of the secret: the prefix and the last four characters.
func (s Secret) Hint() string {
	text := s.text.Reveal()
	return secretPrefix + "…" + text[len(text)-4:]
}

// hashPrefix precedes the hexadecimal digits of a hash where it stands for a key.
const hashPrefix = "sha256:"

// ParseHash reads "sha256:" and 64 hexadecimal digits.
func ParseHash(text string) (hash Hash, ok bool) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(hash)) {
		return Hash{}, false
	}
	_, err := hex.Decode(hash[:], []byte(digits))
	return hash, err == nil
}

// checksum spells the CRC-32 (IEEE) of text in base 62.
func checksum(text string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(text)))
	return digits(new(big.Int).SetBytes(sum[:]), checkDigits)
}

// digits spells n in base 62, most significant digit first, padded with zeros.
func digits(n *big.Int, length int) string {
	out := []byte(strings.Repeat("0", length))
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	for i := length - 1; n.Sign() > 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}
