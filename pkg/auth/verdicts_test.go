package auth_test

import (
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"aiadmin/pkg/auth"
	"aiadmin/test/authtest"
)

// A verified token is remembered for a minute, as far as exp allows. It shows where the key is
// withdrawn meanwhile, and another token's key id made us notice.
func TestVerdictsEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		lives, after time.Duration
		want         error
	}{
		{"within the minute", time.Hour, 55 * time.Second, nil},
		{"after the minute", time.Hour, 61 * time.Second, auth.ErrInvalid},
		{"past exp, within the minute", 30 * time.Second, 31 * time.Second, auth.ErrInvalid},
	} {
		issuer, a, c := setup(t)
		token := issuer.Token(t, authtest.Claims{"exp": time.Now().Add(test.lives).Unix()})
		expect(t, a, token, nil)
		issuer.Rotate(t)
		expect(t, a, issuer.Token(t, nil), nil)
		c.Advance(test.after)
		t.Log(test.name)
		expect(t, a, token, test.want)
	}
}

func TestSetIssuersForgetsAtOnce(t *testing.T) {
	t.Parallel()
	issuer, a, _ := setup(t)
	token := issuer.Token(t, nil)
	expect(t, a, token, nil)
	a.SetIssuers([]auth.Issuer{{Issuer: issuer.URL, Audience: "other"}})
	expect(t, a, token, auth.ErrInvalid)
	a.SetIssuers(trust(issuer).Issuers)
	expect(t, a, token, nil)
}

func TestSetIssuersWhileAuthenticating(t *testing.T) {
	t.Parallel()
	issuer, a, _ := setup(t)
	token := issuer.Token(t, nil)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				expect(t, a, token, nil)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			a.SetIssuers(trust(issuer).Issuers)
		}
	})
	all.Wait()
}

func BenchmarkAuthenticate(b *testing.B) {
	issuer := authtest.NewIssuer(b)
	o := trust(issuer, grant("sub", "alice", auth.UsersRead))
	for i := range 100 {
		o.Tokens = append(o.Tokens, token(string(rune('A'+i)), string(rune('A'+i)), auth.Admin))
	}
	header := "Bearer " + issuer.Token(b, nil)
	b.Run("token of 100", func(b *testing.B) {
		a := newAuth(b, o)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authenticate(b.Context(), "Bearer A"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("JWT cached", func(b *testing.B) {
		a := newAuth(b, o)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authenticate(b.Context(), header); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		b.Run("JWT verified "+string(algorithm), func(b *testing.B) {
			a := newAuth(b, o)
			headers := make([]string, 4100) // in turn, they miss a cache of 4096 every time
			for i := range headers {
				headers[i] = "Bearer " + issuer.Sign(b, algorithm, authtest.Claims{"jti": i})
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if _, err := a.Authenticate(b.Context(), headers[n%len(headers)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
