package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/config"
)

func TestParseReportsEveryProblem(t *testing.T) {
	t.Parallel()
	const (
		wantOrigin = "must be an origin: https://host or https://host:port (or http), with nothing after it; or * alone"
		wantIssuer = "must be an https:// URL without user, query and fragment (http:// for localhost alone), exactly as in the tokens' iss"
		wantName   = "must be 1 to 255 characters without control characters"
		wantKeep   = "must be a duration from 0s to 87600h, such as 90s, 30m or 168h"
		topKeys    = "access, auth, console, cors, database, fissionCompat, logLevel, metricsPort, oidc, outbox, retention, scim, source, tracing"
	)
	tests := map[string]struct {
		content string
		want    []string
	}{
		"unknown keys, each named with its line": {
			"auth: required\nlogLevels: info\ncors:\n  allowedOrigin: []\n\"a\\nb\": 1\n<<: {auth: disabled}\n? x\n: y\n",
			[]string{"2: logLevels: unknown key; the keys here are " + topKeys,
				"4: cors.allowedOrigin: unknown key; the keys here are allowCredentials, allowedOrigins",
				`5: "a\nb": unknown key; the keys here are ` + topKeys,
				"6: <<: unknown key; the keys here are " + topKeys, "7: x: unknown key; the keys here are " + topKeys},
		},
		"wrong types": {
			"auth: true\ncors: []\noidc: {}\nsource: 5\nretention: {claims: [1h], history: 5}\ndatabase: {maxConnections: \"12\", migrateOnStart: \"true\"}\noutbox: 3\nmetricsPort: 90.5\nlogLevel: 0\nfissionCompat: yes\n",
			[]string{"1: auth: must be one of disabled, required",
				"2: cors: must be a mapping with the keys allowCredentials, allowedOrigins",
				"3: oidc: must be a list of 0 to 20",
				"4: source: must be text: put it in quotes",
				"5: retention.claims: " + wantKeep, "5: retention.history: " + wantKeep,
				"6: database.maxConnections: must be a whole number from 1 to 1000", "6: database.migrateOnStart: must be true or false",
				"7: outbox: must be a mapping with the keys maxAttempts, maxBackoff",
				"8: metricsPort: must be a whole number from 0 to 65535",
				"9: logLevel: must be one of debug, error, info, warn",
				"10: fissionCompat: must be true or false"},
		},
		"ranges": {
			"retention:\n  claims: -1s\n  idempotencyKeys: 7d\n  history: 900000h\ndatabase:\n  maxConnections: 0\noutbox:\n  maxAttempts: 99999999999999999999\n  maxBackoff: 1ms\nmetricsPort: -1\nlogLevel: INFO\n",
			[]string{"2: retention.claims: " + wantKeep, "3: retention.idempotencyKeys: " + wantKeep, "4: retention.history: " + wantKeep,
				"6: database.maxConnections: must be a whole number from 1 to 1000",
				"8: outbox.maxAttempts: must be a whole number from 1 to 10000",
				"9: outbox.maxBackoff: must be a duration from 10ms to 24h, such as 90s, 30m or 168h",
				"10: metricsPort: must be a whole number from 0 to 65535", "11: logLevel: must be one of debug, error, info, warn"},
		},
		"origins": {
			"cors:\n  allowedOrigins:\n  - https://a.example/\n  - a.example\n  - \"null\"\n  - https://*.example.com\n  - https://u@a.example\n  - https://a.example?x\n  - ftp://a.example\n  - https://a.example:99999\n  - 'https://a b'\n  -\n  - 7\n  - 'https://'\n  - 'https://a.example:'\n  - javascript:alert(1)\n",
			[]string{"3: cors.allowedOrigins[0]: " + wantOrigin, "4: cors.allowedOrigins[1]: " + wantOrigin, "5: cors.allowedOrigins[2]: " + wantOrigin,
				"6: cors.allowedOrigins[3]: " + wantOrigin, "7: cors.allowedOrigins[4]: " + wantOrigin, "8: cors.allowedOrigins[5]: " + wantOrigin,
				"9: cors.allowedOrigins[6]: " + wantOrigin, "10: cors.allowedOrigins[7]: " + wantOrigin, "11: cors.allowedOrigins[8]: " + wantOrigin,
				"12: cors.allowedOrigins[9]: is empty: write a value or remove it", "13: cors.allowedOrigins[10]: must be text: put it in quotes",
				"14: cors.allowedOrigins[11]: " + wantOrigin, "15: cors.allowedOrigins[12]: " + wantOrigin, "16: cors.allowedOrigins[13]: " + wantOrigin},
		},
		"issuers": {
			"oidc:\n- {}\n- {issuer: http://id.example.com, audience: '', scopes: []}\n- issuer: https://id.example.com?x\n  audience: \"a\\tb\"\n  scopes: [{claim: groups, value: x, grant: [users:delete, admin]}, {claim: groups, value: '', grant: []}, {value: x, claim: }]\n- {issuer: id.example.com, audience: a, extra: 1, scopes: {}}\n",
			[]string{"2: oidc[0].issuer: is missing", "2: oidc[0].audience: is missing", "2: oidc[0].scopes: is missing",
				"3: oidc[1].issuer: " + wantIssuer, "3: oidc[1].audience: " + wantName, "3: oidc[1].scopes: must be a list of 1 to 100",
				"4: oidc[2].issuer: " + wantIssuer, "5: oidc[2].audience: " + wantName,
				"6: oidc[2].scopes[0].grant[0]: must be one of users:read, users:write, credentials:read, events:send, keys:write, access:check, scim, audit:read, admin",
				"6: oidc[2].scopes[1].value: " + wantName, "6: oidc[2].scopes[1].grant: must be a list of 1 to 9",
				"6: oidc[2].scopes[2].claim: is missing", "6: oidc[2].scopes[2].grant: is missing",
				"7: oidc[3].issuer: " + wantIssuer,
				"7: oidc[3].extra: unknown key; the keys here are audience, clientID, issuer, scopes",
				"7: oidc[3].scopes: must be a list of 1 to 100"},
		},
		"sources":              {"source: 'a b'\nlogLevel: loud", []string{"1: source: must be a URI reference of 1 to 1024 characters, such as /ai/admin/users or https://host/path", "2: logLevel: must be one of debug, error, info, warn"}},
		"anchors and tags":     {"auth: &a required\nsource: *a\nmetricsPort: !!str 7\nlogLevel: *a", []string{"1: auth: must be written out: anchors, aliases and tags are not read here", "2: source: must be written out: anchors, aliases and tags are not read here", "3: metricsPort: must be written out: anchors, aliases and tags are not read here", "4: logLevel: must be written out: anchors, aliases and tags are not read here"}},
		"no mapping":           {"just text", []string{"1: the file: must be a mapping with the keys " + topKeys}},
		"two documents":        {"auth: required\n---\nauth: disabled\n", []string{"3: second document: must not be there: one document is read"}},
		"a duplicate key":      {"auth: required\nauth: disabled\n", []string{"2: auth: must appear only once"}},
		"the star beside one":  {"cors: {allowedOrigins: ['*', 'https://a.example'], allowCredentials: true}", []string{"1: cors.allowedOrigins: must be * alone, or a list of origins without it", "1: cors.allowCredentials: must be false beside the origin *: list the origins instead"}},
		"no YAML":              {"auth: [required\nlogLevel: info", []string{" must be YAML: line 1: did not find expected ',' or ']'"}},
		"stray text is hidden": {"source: |planted-secret\n", []string{" must be YAML: did not find expected comment or line break"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Parse(yaml(tt.content))
			if err == nil {
				t.Fatalf("no error: %+v", c)
			}
			got := strings.Split(err.Error(), "\n")
			for i, line := range got {
				got[i] = strings.TrimPrefix(line, "config.yaml:")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// Problems do not repeat the file's content: one day somebody pastes a token into the wrong file.
func TestProblemsNeverShowAValue(t *testing.T) {
	t.Parallel()
	for _, content := range []string{
		"auth: planted", "cors: planted", "cors: {allowedOrigins: [planted]}", "cors: {allowCredentials: planted}",
		"oidc: planted", "oidc: [planted]", "oidc: [{issuer: planted, audience: \"planted\\n\", scopes: [{grant: [planted]}]}]",
		"source: 'planted planted'", "retention: {claims: planted}", "metricsPort: planted", "logLevel: planted", "planted",
		"source: \"planted", "source: [planted", "source: {planted", "source: planted: planted", "source: |planted", "- planted\nx", "\tplanted",
		"auth: required\n planted", "source: !planted x", "source: &planted x", "source: *planted", "%YAML planted\n---\n", "source: 'planted' planted", "a: b\nplanted\n",
	} {
		_, err := config.Parse(yaml(content))
		if err == nil {
			t.Errorf("%q is taken", content)
		} else if strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: the error shows the value: %v", content, err)
		}
	}
}
