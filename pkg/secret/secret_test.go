package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"aiadmin/pkg/secret"
)

func TestTextNeverPrints(t *testing.T) {
	t.Parallel()
	const plain = "sk-live-do-not-print-me"
	type holder struct {
		Key  secret.Text
		Ptr  *secret.Text
		List []secret.Text
		Map  map[string]secret.Text
	}
	type hidden struct{ key secret.Text }
	s := secret.New(plain)
	values := []any{s, &s, []secret.Text{s}, &[1]secret.Text{s}, hidden{s}, &hidden{s}, &[1]hidden{{s}}, holder{s, &s, []secret.Text{s}, map[string]secret.Text{"k": s}}}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(encoded)
		log.Info("m", "v", v)
		text.Info("m", "v", v)
	}
	if strings.Contains(out.String(), plain) || strings.Contains(out.String(), fmt.Sprintf("%x", plain)) {
		t.Fatalf("a secret was printed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Fatal("nothing was redacted: the test looked at nothing")
	}
	if s.Reveal() != plain || s.Len() != len(plain) {
		t.Fatal("Reveal and Len must speak of the plain text")
	}
	if s != secret.New(plain) || s == secret.New("another") || secret.New("").Len() != (secret.Text{}).Len() {
		t.Fatal("texts must compare by content")
	}
}
