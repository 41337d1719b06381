package user

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
)

func TestNumberForms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		literal        string
		integer, cents int64
		wrong, wrongC  string // codes as an integer and as cents
	}{
		{"0", 0, 0, "", ""}, {"-0", 0, 0, "", ""}, {"-0.0", 0, 0, "", ""}, {"7", 7, 700, "", ""}, {"1e2", 100, 10000, "", ""}, {"1E+2", 100, 10000, "", ""},
		{"100e-2", 1, 100, "", ""}, {"2.0", 2, 200, "", ""}, {"1.5", 0, 150, codePlaces, ""}, {"12.50", 0, 1250, codePlaces, ""},
		{"12.500", 0, 1250, codePlaces, ""}, {"0.01", 0, 1, codePlaces, ""}, {"0.001", 0, 0, codePlaces, codePlaces}, {"1.005", 0, 0, codePlaces, codePlaces},
		{"-1", 0, 0, codeMin, codeMin}, {"-0.001", 0, 0, codeMin, codeMin}, {"1e400", 0, 0, codeRange, codeRange}, {"1e-400", 0, 0, codeRange, codeRange},
		{"1e999999999", 0, 0, codeRange, codeRange}, {"1e-999999999", 0, 0, codeRange, codeRange}, {"1e99999999999999999999", 0, 0, codeRange, codeRange},
		{"9007199254740991", MaxInteger, 0, "", codeRange}, {"9007199254740992", 0, 0, codeRange, codeRange}, {"9007199254740991.0", MaxInteger, 0, "", codeRange},
		{"90071992547409.91", 0, MaxInteger, codePlaces, ""}, {"90071992547409.92", 0, 0, codePlaces, codeRange},
		{"1" + strings.Repeat("0", 99), 0, 0, codeRange, codeRange}, {"1." + strings.Repeat("0", 98), 1, 100, "", ""},
		{"1." + strings.Repeat("0", 99), 0, 0, codeRange, codeRange}, {"0." + strings.Repeat("0", 97) + "1", 0, 0, codePlaces, codePlaces},
	}
	for _, test := range tests {
		if n, code := Scaled([]byte(test.literal), 0); n != test.integer || code != test.wrong {
			t.Errorf("%s as an integer: %d %q, want %d %q", test.literal, n, code, test.integer, test.wrong)
		}
		if n, code := Scaled([]byte(test.literal), 2); n != test.cents || code != test.wrongC {
			t.Errorf("%s as dollars: %d %q, want %d %q", test.literal, n, code, test.cents, test.wrongC)
		}
	}
}

// TestCentsRoundTrip compares with an independent decimal and reads each text back.
func TestCentsRoundTrip(t *testing.T) {
	t.Parallel()
	check := func(n int64) {
		t.Helper()
		written := Cents(n).String()
		if want := decimal.New(n, -2).String(); written != want {
			t.Fatalf("%d cents: %s, want %s", n, written, want)
		}
		if back, code := Scaled([]byte(written), 2); back != n || code != "" {
			t.Fatalf("%s came back as %s %s", written, strconv.FormatInt(back, 10), code)
		}
	}
	for n := range int64(1000) {
		check(n)
		check(MaxInteger - n)
	}
	for range 10_000 {
		check(rand.Int64N(MaxInteger))
	}
}
