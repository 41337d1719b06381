package vault

import (
	"fmt"
	"strings"
	"testing"

	"aiadmin/pkg/secret"
)

// knownKey is the key of the known answers (vault_test.go), bytes 00…1f.
func knownKey() key {
	var raw [keySize]byte
	for i := range raw {
		raw[i] = byte(i)
	}
	return newKey(raw)
}

func countingNonce(first byte) (n nonce) {
	for i := range n {
		n[i] = first + byte(i)
	}
	return n
}

func TestSealsWhatPyNaClSeals(t *testing.T) {
	t.Parallel()
	k := knownKey()
	tests := []struct {
		nonce         nonce
		message, want string
	}{
		{nonce{}, "", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1sfV/XKr/KHuHLu9lAWN3A=="},
		{countingNonce(0x40), "sk-live-Ünïcödé-🔑", "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZX3b92DqdlF3kg9IOhp7/UpDl8eBVTJ94HBcUfosfqmUeq9O95ndzLWQ=="},
	}
	for _, tt := range tests {
		got := sealRaw(k, tt.nonce, []byte(tt.message))
		if got != tt.want {
			t.Errorf("sealed %q as %s, want %s", tt.message, got, tt.want)
		}
		box, ok := decodeBox(got)
		message, opened := openRaw(k, box)
		if !ok || !opened || string(message) != tt.message {
			t.Errorf("opened %q, %v %v; want %q", message, ok, opened, tt.message)
		}
	}
}

// The message inside is JSON whose form is fixed, so that a program with the key can read it.
func TestSealedMessageIsTheContracts(t *testing.T) {
	t.Parallel()
	k := knownKey()
	ring := &KeyRing{primary: "k", ids: []string{"k"}, keys: map[string]key{"k": k}}
	stored, err := ring.Seal("u1", "openai", secret.New("a<b>&\"🔑"))
	if err != nil {
		t.Fatal(err)
	}
	box, _ := decodeBox(strings.TrimPrefix(stored, "k:"))
	message, _ := openRaw(k, box)
	if want := `{"user":"u1","provider":"openai","secret":"a<b>&\"🔑"}`; string(message) != want {
		t.Errorf("sealed %s, want %s", message, want)
	}
}

// Another program may spell the JSON in its own way; a message that is not that JSON is
// refused in our form, and taken for the secret in the old function's if it is text.
func TestMessagesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	k := knownKey()
	ring := &KeyRing{primary: "k", ids: []string{"k"}, keys: map[string]key{"k": k}}
	tests := []struct {
		message        string
		asOurs, asOlds string // what opens, or "!" for a refusal
	}{
		{`{"user": "u1", "provider": "openai", "secret": "caf\u00e9 \ud83d\udd11"}`, "café 🔑", "!"},
		{`{"secret":"s","provider":"openai","user":"u1"} `, "s", "!"},
		{`{"user":"u1","provider":"openai"}`, "!", `{"user":"u1","provider":"openai"}`},
		{`{"user":"u1","provider":"openai","secret":null}`, "!", `{"user":"u1","provider":"openai","secret":null}`},
		{`{"user":"u1","provider":"openai","secret":"s","more":1}`, "!", `{"user":"u1","provider":"openai","secret":"s","more":1}`},
		{`{"user":"u1","provider":"openai","secret":"s"}x`, "!", `{"user":"u1","provider":"openai","secret":"s"}x`},
		{`{"type":"service_account","private_key":"p"}`, "!", `{"type":"service_account","private_key":"p"}`},
		{"sk-plain", "!", "sk-plain"},
		{"\xff\xfe", "!", "!"}, // no text
	}
	for i, tt := range tests {
		box := sealRaw(k, countingNonce(byte(i)), []byte(tt.message))
		for form, want := range map[string]string{"k:" + box: tt.asOurs, box: tt.asOlds} {
			got, err := ring.Open("u1", "openai", form)
			shown := got.Reveal()
			if err != nil {
				shown = "!"
			}
			if shown != want {
				t.Errorf("%q stored with key id %q opened %q (%v), want %q", tt.message, KeyID(form), shown, err, want)
			}
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := knownKey()
	ring := &KeyRing{primary: "k", ids: []string{"k"}, keys: map[string]key{"k": k}}
	stored, err := ring.Seal("u1", "openai", secret.New(fmt.Sprintf("%064d", 1)))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ring.Open("u1", "openai", stored); err != nil {
			b.Fatal(err)
		}
	}
}
