package user

import (
	"strings"
	"testing"

	"github.com/go-ozzo/ozzo-validation/v4/is"
)

// TestEmail holds our rule against ozzo's, which is not in the binary (see errEmail): they
// differ where ozzo's is known to be wrong, and there alone.
func TestEmail(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("d", 63)
	for _, good := range []string{"ada@example.com", "a@b.c", "Ada.Lovelace+ai@mail.example.co.uk", "o'brien@example.ie", "!#$%&'*+-/=?^_`{|}~@example.com",
		"jörg@müller.example", "用户@例子.公司", "अजय@डाटा.भारत", "a@xn--mller-kva.example", "a@xn--p1ai.xn--p1ai", "1@2.example", "a@3com.example", "a@a_b.example",
		"a@" + label + ".example"} {
		if !isEmail(good) || is.EmailFormat.Validate(good) != nil {
			t.Errorf("%q: %v, ozzo %v", good, isEmail(good), is.EmailFormat.Validate(good))
		}
	}
	for _, bad := range []string{"a", "@", "a@", "@b.example", "a@b", "a@localhost", "a@@b.example", "a@b@c.example", "Ada <a@b.example>", "<a@b.example>", "a@b.example, c@d.example",
		".a@b.example", "a.@b.example", "a..b@c.example", "a b@c.example", "a@b c.example", "a@-b.example", "a@b-.example", "a@.example", "a@b.example-", "a@b.-example",
		"a@127.0.0.1", "a@[127.0.0.1]", "a@[IPv6:::1]", "a@b.1", "a@b._c", "a@b.c/d", "a@b.example:25", "mailto:a@b.example?", "a@b.example\n", "\ta@b.example", " a@b.example",
		"a\x00@b.example", "a\x7f@b.example", `"a@b.example`, `a"@b.example`, `"ada"@example.com`, `"a b"@example.com`, `"a@b"@example.com`, "\"a\nb\"@c.example", `a\@b@c.example`, "a(comment)@b.example", "a\xff@b.example", "a@b\xff.example"} {
		if isEmail(bad) || is.EmailFormat.Validate(bad) == nil {
			t.Errorf("%q: %v, ozzo %v", bad, isEmail(bad), is.EmailFormat.Validate(bad))
		}
	}
	for _, ours := range []string{"a@b..example", "a@b.-c.example", "a@b.example.", "a@" + label + "d.example", "a\u200b@b.example", "a@b\u2028.example", "a@b\u3002example.com", "\u00a0a@b.example",
		`"a"b"@c.example`} {
		if isEmail(ours) {
			t.Errorf("%q is taken", ours)
		}
	}
}
