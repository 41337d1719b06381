package user

import "testing"

func TestPreconditionHolds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		condition *Precondition
		want      bool
	}{
		{"none", nil, true}, {"any", &Precondition{Any: true}, true}, {"the version", &Precondition{Versions: []int64{3}}, true},
		{"among several", &Precondition{Versions: []int64{1, 3}}, true}, {"another", &Precondition{Versions: []int64{2, 4}}, false},
		{"no version at all", &Precondition{}, false},
	}
	for _, test := range tests {
		if got := test.condition.Holds(3); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

// TestClaimKeysDoNotRunTogether: kind, scope and id are each told apart, whatever is in them.
func TestClaimKeysDoNotRunTogether(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]Claim{}
	for _, kind := range []ClaimKind{EventClaim, RequestClaim} {
		for _, pair := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"ab", "c"}, {"a", "bc"}, {"", "abc"}, {"abc", ""}, {"a\x00", "b"}, {"a", "\x00b"},
			{"\x00\x00\x00\x00\x00\x00\x00\x01", ""}, {"", "\x00\x00\x00\x00\x00\x00\x00\x01"}} {
			claim := Claim{Kind: kind, Scope: pair[0], ID: pair[1]}
			if other, ok := seen[claim.Key()]; ok {
				t.Errorf("%q and %q have one key", claim, other)
			}
			seen[claim.Key()] = claim
		}
	}
	with, without := Claim{Kind: EventClaim, ID: "x", Digest: []byte("d")}, Claim{Kind: EventClaim, ID: "x"}
	if with.Key() != without.Key() {
		t.Error("the digest is part of the key: a repetition with another body would not find its claim")
	}
}
