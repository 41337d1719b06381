package vault_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"aiadmin/pkg/secret"
	"aiadmin/pkg/vault"
)

func text(s string) secret.Text { return secret.New(s) }

const (
	alice = "0190a000-0000-7000-8000-00000000000a"
	bob   = "0190a000-0000-7000-8000-00000000000b"
	// Known answers of PyNaCl's SecretBox, under key 00…1f.
	pyEmpty = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1sfV/XKr/KHuHLu9lAWN3A=="
	pyText  = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZX3b92DqdlF3kg9IOhp7/UpDl8eBVTJ94HBcUfosfqmUeq9O95ndzLWQ=="
)

func twoKeys(t testing.TB) *vault.KeyRing {
	return mustRing(t, map[string]string{"PRIMARY": "k2", "k1": hexKey(0), "k2": hexKey(1)})
}

func mustSeal(t testing.TB, ring *vault.KeyRing, user, provider, plain string) string {
	t.Helper()
	stored, err := ring.Seal(user, provider, text(plain))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestOpensTheOldFunctionsValues(t *testing.T) {
	t.Parallel()
	ring := twoKeys(t) // the old key is not the primary: every key must be tried
	for stored, want := range map[string]string{pyEmpty: "", pyText: "sk-live-Ünïcödé-🔑"} {
		got, err := ring.Open(alice, "openai", stored)
		if err != nil || got.Reveal() != want {
			t.Errorf("opened %q, %v; want %q", got.Reveal(), err, want)
		}
		if id := vault.KeyID(stored); id != "" {
			t.Errorf("the old function's value names key %q", id)
		}
	}
}

func TestSealedValuesOpenAgain(t *testing.T) {
	t.Parallel()
	ring := twoKeys(t)
	for _, plain := range []string{"", "x", "sk-live-Ünïcödé-🔑", `{"user":"a"}`, "a:b", "<&>\u2028\\\"\n\t\x01",
		"\ufffd", strings.Repeat("k", 4096)} {
		stored := mustSeal(t, ring, alice, "openai", plain)
		if !strings.HasPrefix(stored, "k2:") || vault.KeyID(stored) != "k2" {
			t.Errorf("sealed under %q, want the primary", vault.KeyID(stored))
		}
		got, err := ring.Open(alice, "openai", stored)
		if err != nil || got.Reveal() != plain {
			t.Errorf("opened %q, %v; want %q", got.Reveal(), err, plain)
		}
	}
	first, second := mustSeal(t, ring, alice, "openai", "s"), mustSeal(t, ring, alice, "openai", "s")
	if first == second {
		t.Error("the same secret sealed twice looks the same: the nonce was used twice")
	}
}

func TestSealRefusesWhatJSONWouldChange(t *testing.T) {
	t.Parallel()
	stored, err := twoKeys(t).Seal(alice, "openai", text("k\xffey"))
	if err == nil {
		t.Fatalf("a secret that is not UTF-8 was sealed as %q", stored)
	}
	if errors.Is(err, vault.ErrRefused) || strings.Contains(err.Error(), "ey") {
		t.Errorf("unexpected error %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	ring := twoKeys(t)
	stored := mustSeal(t, ring, alice, "openai", "sk-planted-secret")
	_, box, _ := strings.Cut(stored, ":")
	raw, err := base64.StdEncoding.DecodeString(box)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func([]byte) []byte) string {
		return "k2:" + base64.StdEncoding.EncodeToString(change(append([]byte(nil), raw...)))
	}
	onlyOther := mustRing(t, map[string]string{"PRIMARY": "k9", "k9": hexKey(9)})
	tests := map[string]struct {
		ring           *vault.KeyRing
		user, provider string
		stored         string
		want           error
	}{
		"another user's row":         {ring, bob, "openai", stored, vault.ErrWrongRow},
		"another provider's row":     {ring, alice, "mistral", stored, vault.ErrWrongRow},
		"key id cut off, copied":     {ring, bob, "openai", box, vault.ErrTampered},
		"key id cut off, own row":    {ring, alice, "openai", box, vault.ErrTampered},
		"another key's id":           {ring, alice, "openai", "k1:" + box, vault.ErrTampered},
		"unknown key id":             {ring, alice, "openai", "k3:" + box, vault.ErrUnknownKey},
		"key gone from the ring":     {onlyOther, alice, "openai", stored, vault.ErrUnknownKey},
		"old value, key gone":        {onlyOther, alice, "openai", pyText, vault.ErrTampered},
		"old value with a key id":    {ring, alice, "openai", "k1:" + pyText, vault.ErrTampered},
		"no key id before the colon": {ring, alice, "openai", ":" + box, vault.ErrTampered},
		"upper-case key id":          {ring, alice, "openai", "K2:" + box, vault.ErrTampered},
		"two key ids":                {ring, alice, "openai", "k2:" + stored, vault.ErrTampered},
		"PRIMARY as key id":          {ring, alice, "openai", "PRIMARY:" + box, vault.ErrTampered},
		"nonce changed":              {ring, alice, "openai", with(func(b []byte) []byte { b[0] ^= 1; return b }), vault.ErrTampered},
		"tag changed":                {ring, alice, "openai", with(func(b []byte) []byte { b[24] ^= 1; return b }), vault.ErrTampered},
		"box changed":                {ring, alice, "openai", with(func(b []byte) []byte { b[len(b)-1] ^= 128; return b }), vault.ErrTampered},
		"cut short":                  {ring, alice, "openai", with(func(b []byte) []byte { return b[:len(b)-1] }), vault.ErrTampered},
		"nonce alone":                {ring, alice, "openai", with(func(b []byte) []byte { return b[:24] }), vault.ErrTampered},
		"longer":                     {ring, alice, "openai", with(func(b []byte) []byte { return append(b, 0) }), vault.ErrTampered},
		"nothing after the colon":    {ring, alice, "openai", "k2:", vault.ErrTampered},
		"empty":                      {ring, alice, "openai", "", vault.ErrTampered},
		"line end inside":            {ring, alice, "openai", "k2:" + box[:8] + "\n" + box[8:], vault.ErrTampered},
		"unpadded":                   {ring, alice, "openai", strings.TrimRight(pyEmpty, "="), vault.ErrTampered},
		"stray bits in the padding":  {ring, alice, "openai", strings.Replace(pyEmpty, "3A==", "3B==", 1), vault.ErrTampered},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.ring.Open(tt.user, tt.provider, tt.stored)
			if !errors.Is(err, tt.want) || !errors.Is(err, vault.ErrRefused) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			for _, other := range []error{vault.ErrTampered, vault.ErrWrongRow, vault.ErrUnknownKey} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("also matches %v: the kinds must be distinct", other)
				}
			}
			if got != (secret.Text{}) || strings.Contains(err.Error(), "planted") {
				t.Error("a refusal carried the secret")
			}
		})
	}
}
