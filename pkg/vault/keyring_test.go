package vault_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/vault"
)

// hexKey is a 32-byte key that counts up from first.
func hexKey(first byte) string { return hex.EncodeToString(rawKey(first)) }

func rawKey(first byte) []byte {
	k := make([]byte, 32)
	for i := range k {
		k[i] = first + byte(i)
	}
	return k
}

func mustRing(t testing.TB, files map[string]string) *vault.KeyRing {
	t.Helper()
	ring, err := vault.ParseKeyRing(files)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestParseKeyRingReadsEveryEncoding(t *testing.T) {
	t.Parallel()
	raw := rawKey(0xe0) // its base64 has characters that the two alphabets write differently
	texts := []string{
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	}
	stored, err := mustRing(t, map[string]string{"PRIMARY": "k", "k": texts[0]}).Seal("u", "p", text("s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	for _, keyText := range texts {
		got, err := mustRing(t, map[string]string{"PRIMARY": "k", "k": keyText}).Open("u", "p", stored)
		if err != nil || got.Reveal() != "s3cret" {
			t.Errorf("%s: opened %q, %v", keyText, got.Reveal(), err)
		}
	}
}

func TestParseKeyRingReportsEveryProblem(t *testing.T) {
	t.Parallel()
	const badKey = ": must be a 32-byte key: 64 hexadecimal digits, or base64 (44 characters)"
	const badName = ": must be named by a key id: 1 to 32 of a-z, 0-9 and -"
	const badPrimary = "PRIMARY: must be the name of one of the key files here"
	const noPrimary = "PRIMARY: is missing: write the id of the key that seals, which is the name of one of the key files here"
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"nothing mounted":     {nil, []string{noPrimary}},
		"no primary":          {map[string]string{"k1": hexKey(0)}, []string{noPrimary}},
		"empty primary":       {map[string]string{"k1": hexKey(0), "PRIMARY": ""}, []string{badPrimary}},
		"primary names none":  {map[string]string{"k1": hexKey(0), "PRIMARY": "k2"}, []string{badPrimary}},
		"primary names it":    {map[string]string{"k1": hexKey(0), "PRIMARY": "PRIMARY"}, []string{badPrimary}},
		"a key as primary":    {map[string]string{"k1": hexKey(0), "PRIMARY": hexKey(0)}, []string{badPrimary}},
		"a short key":         {map[string]string{"k1": hexKey(0)[2:], "PRIMARY": "k1"}, []string{"k1" + badKey}},
		"a long key":          {map[string]string{"k1": hexKey(0) + "00", "PRIMARY": "k1"}, []string{"k1" + badKey}},
		"an empty key":        {map[string]string{"k1": "", "PRIMARY": "k1"}, []string{"k1" + badKey}},
		"a raw key":           {map[string]string{"k1": string(rawKey(0)), "PRIMARY": "k1"}, []string{"k1" + badKey}},
		"a name too long":     {map[string]string{strings.Repeat("a", 33): hexKey(0), "k": hexKey(0), "PRIMARY": "k"}, []string{strings.Repeat("a", 33) + badName}},
		"all of them at once": {map[string]string{"k1": "zz", "K_2": hexKey(0), "k3": "xx", "PRIMARY": "k4"}, []string{"K_2" + badName, "k1" + badKey, "k3" + badKey, badPrimary}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ring, err := vault.ParseKeyRing(tt.files)
			if err == nil {
				t.Fatalf("no error; the ring is %v", ring)
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeysNeverPrint(t *testing.T) {
	t.Parallel()
	ring := mustRing(t, map[string]string{"PRIMARY": "k1", "k1": hexKey(0x41), "k2": hexKey(0x61)})
	var out strings.Builder
	for _, v := range []any{ring, *ring, []any{ring}, struct{ Ring vault.KeyRing }{*ring}, struct{ ring *vault.KeyRing }{ring}, struct{ ring vault.KeyRing }{*ring}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	for _, leak := range []string{"ABCD", "abcd", "41424344", "61626364", "0x41, 0x42", "65 66 67", base64.StdEncoding.EncodeToString(rawKey(0x41))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("a key was printed (%s):\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "primary k1") {
		t.Error("the key ids were not printed: the test looked at nothing")
	}
}

func TestNewKeyMakesAUsableKey(t *testing.T) {
	t.Parallel()
	a, b := vault.NewKey(), vault.NewKey()
	if a == b {
		t.Fatal("two new keys are the same")
	}
	ring := mustRing(t, map[string]string{"PRIMARY": "k", "k": a.Reveal()})
	if ring.Primary() != "k" {
		t.Errorf("the primary is %q", ring.Primary())
	}
}
