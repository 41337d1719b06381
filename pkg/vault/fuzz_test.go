package vault_test

import (
	"errors"
	"testing"

	"aiadmin/pkg/vault"
)

// FuzzOpen holds that a stored value opens or is refused as ErrRefused, in its own row
// alone, whatever stands in the column.
func FuzzOpen(f *testing.F) {
	ring := twoKeys(f)
	for _, stored := range []string{"", ":", "k1:", "k2:AAAA", "K2:AAAA", "k3:" + pyText, pyEmpty, pyText, "k1:" + pyText,
		mustSeal(f, ring, alice, "openai", "s"), mustSeal(f, ring, bob, "openai", "s")} {
		f.Add(stored)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		got, err := ring.Open(alice, "openai", stored)
		if err != nil {
			if !errors.Is(err, vault.ErrRefused) || got.Len() != 0 {
				t.Fatalf("error %v with %d bytes", err, got.Len())
			}
			return
		}
		again := mustSeal(t, ring, alice, "openai", got.Reveal())
		if _, err := ring.Open(bob, "openai", again); !errors.Is(err, vault.ErrWrongRow) {
			t.Fatalf("another row opened it: %v", err)
		}
	})
}

// FuzzSeal holds that what is sealed is what opens, byte for byte.
func FuzzSeal(f *testing.F) {
	ring := twoKeys(f)
	for _, s := range []string{"", "sk-live-Ünïcödé-🔑", "\ufffd", "a\x00b", "\xff", "<&>\u2028"} {
		f.Add("user", "openai", s)
	}
	f.Fuzz(func(t *testing.T, user, provider, plain string) {
		stored, err := ring.Seal(user, provider, text(plain))
		if err != nil {
			return
		}
		got, err := ring.Open(user, provider, stored)
		if err != nil || got.Reveal() != plain {
			t.Fatalf("opened %q, %v; want %q", got.Reveal(), err, plain)
		}
	})
}
