package packaging_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"

	"aiadmin/pkg/config"
	"aiadmin/pkg/vault"
)

// TestConfigsAreAccepted reads each config.yaml of config/ as the service would: a key
// that it does not know ends it with exit code 2.
func TestConfigsAreAccepted(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../config/overlays/*/config.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range append(files, "../../config/base/config.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := config.Parse(map[string]string{"config.yaml": string(text)})
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if parsed.MetricsPort != 9095 {
			t.Errorf("%s: metrics on %d, but config/monitoring asks 9095", file, parsed.MetricsPort)
		}
		if len(parsed.OIDC) != 1 || len(parsed.OIDC[0].Grants) != 3 {
			t.Errorf("%s: the Triggers' accounts are not all granted events:send: %+v", file, parsed.OIDC)
		}
	}
}

// TestExampleSecretsAreAccepted reads them as the service would.
func TestExampleSecretsAreAccepted(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../config/components/example-secrets/secrets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	secrets := map[string]map[string]string{}
	for decoder := yaml.NewDecoder(file); ; {
		var secret struct {
			Metadata   struct{ Name string }
			StringData map[string]string `yaml:"stringData"`
		}
		if decoder.Decode(&secret) != nil {
			break
		}
		secrets[secret.Metadata.Name] = secret.StringData
	}
	if _, err := config.ParsePostgres(t.TempDir())(secrets["ai-admin-postgres"]); err != nil {
		t.Error(err)
	}
	if _, err := vault.ParseKeyRing(secrets["ai-admin-vault"]); err != nil {
		t.Error(err)
	}
	if tokens, err := config.ParseTokens(secrets["ai-admin-auth"]); err != nil || len(tokens) != 1 {
		t.Error(tokens, err)
	}
}
