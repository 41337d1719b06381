package validate

import (
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// reads is what the service reads below /etc/ai-admin (docs/configuration.md). In the
// vault every further file is a key, so it lists only the one that must be there.
var reads = map[string][]string{
	"postgres": {"PG_HOST", "PG_PORT", "PG_DB", "PG_USER", "PG_PASS", "PG_SSLMODE", "PG_SSLROOTCERT", "PG_URL"},
	"vault":    {"PRIMARY"},
	"auth":     {"tokens.json"},
	"config":   {"config.yaml"},
}

// TestEveryFolderIsMounted compares the volumes with what the service reads.
func TestEveryFolderIsMounted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, objects []Object) {
		spec := find[*servingv1.Service](t, objects, "ai-admin").Spec.Template.Spec
		volumes := map[string]string{}
		for _, v := range spec.Volumes {
			switch {
			case v.Secret != nil:
				volumes[v.Name] = v.Secret.SecretName
			case v.ConfigMap != nil:
				volumes[v.Name] = v.ConfigMap.Name
			}
		}
		mounted := map[string]string{}
		for _, m := range spec.Containers[0].VolumeMounts {
			if folder, below := strings.CutPrefix(m.MountPath, "/etc/ai-admin/"); below {
				mounted[folder] = volumes[m.Name]
			}
			if !m.ReadOnly {
				t.Errorf("%s is mounted for writing", m.MountPath)
			}
		}
		for folder := range reads {
			if want := "ai-admin-" + folder; mounted[folder] != want {
				t.Errorf("/etc/ai-admin/%s is %q, want %q", folder, mounted[folder], want)
			}
		}
		if len(mounted) != len(reads) {
			t.Errorf("mounted %v, but the service reads %v", mounted, reads)
		}
	})
}

// TestExampleSecretsAreComplete goes both ways: each key that is read stands in the
// example (in a comment where it is an alternative), and each key of the example is read.
func TestExampleSecretsAreComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config/components/example-secrets/secrets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Split(text)
	if err != nil {
		t.Fatal(err)
	}
	for folder, keys := range reads {
		if folder == "config" {
			continue
		}
		secret := find[*corev1.Secret](t, objects, "ai-admin-"+folder)
		for _, key := range keys {
			if _, there := secret.StringData[key]; !there && !strings.Contains(string(text), key) {
				t.Errorf("%s: %s is read, but the example does not show it", secret.Name, key)
			}
		}
		for key := range secret.StringData {
			if !slices.Contains(keys, key) && key != secret.StringData["PRIMARY"] {
				t.Errorf("%s: nothing reads %s", secret.Name, key)
			}
		}
		if secret.Annotations["ai-admin.example.com/example-only"] != "true" {
			t.Errorf("%s does not say that it is an example", secret.Name)
		}
	}
}
