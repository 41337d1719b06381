package vault

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// primaryFile is the file that names the sealing key.
const primaryFile = "PRIMARY"

// isKeyID uses no regular expression: one with {1,32} in it takes long to compile, at every start.
func isKeyID(s string) bool {
	return len(s) >= 1 && len(s) <= 32 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// KeyRing holds the keys that open stored values and names the one that seals. It
// prints as its key ids, never as its keys.
type KeyRing struct {
	primary string
	ids     []string // the primary first: most values are under it
	keys    map[string]key
}

// ParseKeyRing reads the files of the vault folder: PRIMARY, and a key per key id. The
// error joins every problem, one line each, as "<file>: <what is expected>".
func ParseKeyRing(files map[string]string) (*KeyRing, error) {
	ring := &KeyRing{primary: files[primaryFile], keys: map[string]key{}}
	var problems []error
	for _, id := range slices.Sorted(maps.Keys(files)) {
		if id == primaryFile {
			continue
		}
		if err := ring.add(id, files[id]); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", id, err))
		}
	}
	if err := checkPrimary(files); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", primaryFile, err))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(ring.keys)), func(id string) bool { return id == ring.primary })
	ring.ids = append([]string{ring.primary}, others...)
	return ring, nil
}

func (r *KeyRing) add(id, text string) error {
	if !isKeyID(id) {
		return errors.New("must be named by a key id: 1 to 32 of a-z, 0-9 and -")
	}
	k, err := parseKey(text)
	r.keys[id] = k
	return err
}

// checkPrimary does not check the key itself, which add does, so that a broken key file is reported
// once. It never shows PRIMARY's content, which may be a key pasted there by mistake.
func checkPrimary(files map[string]string) error {
	primary, present := files[primaryFile]
	if _, named := files[primary]; named && isKeyID(primary) {
		return nil
	}
	if !present {
		return errors.New("is missing: write the id of the key that seals, which is the name of one of the key files here")
	}
	return errors.New("must be the name of one of the key files here")
}

// Primary is the id of the key that seals.
func (r *KeyRing) Primary() string { return r.primary }

// IDs are the ids of all keys, the primary's first.
func (r *KeyRing) IDs() []string { return slices.Clone(r.ids) }

// Format implements [fmt.Formatter]: key ids for every verb.
func (r KeyRing) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "vault.KeyRing(primary %s of %q)", r.primary, r.ids)
}
