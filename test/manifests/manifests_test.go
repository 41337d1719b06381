package validate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

var overlays = []string{"local", "dev", "test", "staging", "production"}

// each runs f once for every overlay with its rendered objects.
func each(t *testing.T, f func(t *testing.T, overlay string, objects []Object)) {
	t.Helper()
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			objects, err := Render("../../config/overlays/" + overlay)
			if err != nil {
				t.Fatal(err)
			}
			f(t, overlay, objects)
		})
	}
}

// find decodes the one object of kind and name; absent, the test ends.
func find[T any](t *testing.T, objects []Object, name string) T {
	t.Helper()
	for _, o := range objects {
		if o.Name != name {
			continue
		}
		decoded, err := decode(o)
		if err != nil {
			t.Fatal(err)
		}
		if typed, ok := decoded.(T); ok {
			return typed
		}
	}
	t.Fatalf("no %T named %s", *new(T), name)
	panic("unreachable")
}

func TestOverlaysAreAccepted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, overlay string, objects []Object) {
		if len(objects) < 10 {
			t.Fatalf("%d objects: kustomize left something out", len(objects))
		}
		for _, o := range objects {
			if err := Check(o); err != nil {
				t.Error(err)
			}
			if want := "ai-admin-" + overlay; o.Kind != "Namespace" && o.Namespace != want {
				t.Errorf("%s is in namespace %q, want %q", o, o.Namespace, want)
			}
		}
	})
}

func TestServiceSettings(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, objects []Object) {
		service := find[*servingv1.Service](t, objects, "ai-admin")
		spec := service.Spec.Template.Spec
		container := spec.Containers[0]
		got := map[string]any{
			"min":         service.Spec.Template.Annotations["autoscaling.knative.dev/min-scale"],
			"max":         service.Spec.Template.Annotations["autoscaling.knative.dev/max-scale"],
			"concurrency": *spec.ContainerConcurrency,
			"timeout":     *spec.TimeoutSeconds,
			"visibility":  service.Labels["networking.knative.dev/visibility"],
			"ready":       container.ReadinessProbe.HTTPGet.Path,
			"live":        container.LivenessProbe.HTTPGet.Path,
			"memory":      container.Resources.Limits.Memory().String(),
			"image":       container.Image,
			"account":     spec.ServiceAccountName,
		}
		want := map[string]any{
			"min": "1", "max": "1", "concurrency": int64(500), "timeout": int64(300),
			"visibility": "cluster-local", "ready": "/readyz", "live": "/livez", "memory": "128Mi",
			"image": "ko://aiadmin/cmd/ai-admin", "account": "ai-admin",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		restricted(t, container.SecurityContext)
	})
}

// restricted fails unless s meets the "restricted" Pod Security Standard and has a
// read-only root.
func restricted(t *testing.T, s *corev1.SecurityContext) {
	t.Helper()
	if s == nil || !*s.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation ||
		s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		!cmp.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		t.Errorf("security context is not restricted: %+v", s)
	}
}

func TestOnlyLocalHasExampleSecrets(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, overlay string, objects []Object) {
		count := 0
		for _, o := range objects {
			if o.Kind == "Secret" {
				count++
			}
		}
		if overlay == "local" && count != 4 || overlay != "local" && count != 0 {
			t.Errorf("%d Secrets: applying this overlay would write examples over real ones", count)
		}
	})
}
