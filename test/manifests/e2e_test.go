package validate

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// ours are the broken variants that no API server refuses: Kubernetes takes any label,
// annotation and kind of volume reference, which is why Check looks at them.
var ours = []string{"misspelt annotation", "misspelt label"}

// resolved stands for what ko writes in place of ko://aiadmin/cmd/ai-admin.
const resolved = "registry.example.com/ai-admin@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// TestCluster applies everything to a real API server with Knative's real webhooks. It
// is opt-in (make e2e): its first run builds Kubernetes.
func TestCluster(t *testing.T) {
	if os.Getenv("AI_ADMIN_E2E") == "" {
		t.Skip("opt-in: make e2e")
	}
	c := newCluster(t)
	for _, p := range parts {
		c.install(p)
	}
	t.Run("overlays are accepted", func(t *testing.T) {
		c := c.on(t)
		for _, overlay := range overlays {
			out := c.must(rendered(t, overlay), "apply", "--server-side", "-f", "-")
			if strings.Count(out, "serverside-applied") < 10 {
				t.Errorf("%s: not everything was applied:\n%s", overlay, out)
			}
			c.progress("overlay %s is accepted", overlay)
		}
	})
	t.Run("broken variants are refused", func(t *testing.T) { refused(t, c.on(t)) })
	t.Run("kn service apply", func(t *testing.T) { knRoundTrip(t, c.on(t)) })
	t.Run("make watch applies again", func(t *testing.T) { watched(t, c.on(t)) })
}

// rendered is an overlay as `ko resolve` would print it.
func rendered(t *testing.T, overlay string) string {
	t.Helper()
	objects, err := Render("../../config/overlays/" + overlay)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, o := range objects {
		all = append(all, string(o.YAML))
	}
	return strings.ReplaceAll(strings.Join(all, "---\n"), "ko://aiadmin/cmd/ai-admin", resolved)
}

// refused sends each broken variant as a dry run, which the webhooks judge as well, to a
// namespace where the unbroken object is: what refuses it is the fault alone.
func refused(t *testing.T, c *cluster) {
	objects, err := Split([]byte(rendered(t, "production")))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range broken {
		o := patched(t, named(t, objects, row.object), row.patch)
		out, err := c.kubectl(string(o.YAML), "create", "--dry-run=server", "--validate=strict", "-f", "-")
		switch isOurs := slices.Contains(ours, row.name); {
		case err == nil && !isOurs:
			t.Errorf("%s: accepted", row.name)
		case strings.Contains(out, "AlreadyExists") && !isOurs:
			t.Errorf("%s: refused for another reason: %s", row.name, out)
		}
	}
}

// knRoundTrip applies the Service by kn and reads it back.
func knRoundTrip(t *testing.T, c *cluster) {
	objects, err := Split([]byte(rendered(t, "production")))
	if err != nil {
		t.Fatal(err)
	}
	const namespace = "by-kn"
	c.must("", "create", "namespace", namespace)
	o := named(t, objects, service)
	o.YAML = []byte(strings.ReplaceAll(string(o.YAML), "namespace: ai-admin-production", "namespace: "+namespace))
	file := c.write("service.yaml", string(o.YAML))
	for _, time := range []string{"first time", "second time"} {
		out, err := c.client("kn", "", "service", "apply", "ai-admin", "--namespace", namespace, "--filename", file, "--no-wait")
		if err != nil {
			t.Fatalf("kn: %v\n%s", err, out)
		}
		c.progress("kn service apply, %s: %s", time, strings.TrimSpace(out))
	}
	want, got := new(servingv1.Service), new(servingv1.Service)
	for target, text := range map[*servingv1.Service]string{want: string(o.YAML), got: c.must("", "-n", namespace, "get", "ksvc", "ai-admin", "-o", "yaml")} {
		if err := yaml.Unmarshal([]byte(text), target); err != nil {
			t.Fatal(err)
		}
		target.SetDefaults(webhookContext())
		target.Spec.Template.Spec.Containers[0].Ports[0].Protocol = "TCP" // Kubernetes' own default
	}
	if diff := cmp.Diff(want.Spec, got.Spec, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("applied (-) and read back (+) differ:\n%s", diff)
	}
	if diff := cmp.Diff(want.Labels, got.Labels); diff != "" {
		t.Errorf("labels differ:\n%s", diff)
	}
}
