package validate

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/eventing/pkg/auth"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	corev1 "k8s.io/api/core/v1"
)

// TestReferencesResolve finds what no webhook looks for: a name that nothing bears. Such
// a Trigger is accepted and never becomes ready.
func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, objects []Object) {
		exists := func(from string, ref *duckv1.KReference) {
			if ref == nil {
				t.Errorf("%s: no reference", from)
				return
			}
			for _, o := range objects {
				if o.APIVersion == ref.APIVersion && o.Kind == ref.Kind && o.Name == ref.Name {
					return
				}
			}
			t.Errorf("%s: no %s %s/%s", from, ref.APIVersion, ref.Kind, ref.Name)
		}
		for _, action := range []string{"create", "update", "delete"} {
			trigger := find[*eventingv1.Trigger](t, objects, "ai-admin-user-"+action)
			if got, want := trigger.Spec.Filter.Attributes["type"], "ai.admin.user."+action; got != want {
				t.Errorf("%s filters %q, want %q", trigger.Name, got, want)
			}
			exists(trigger.Name, &duckv1.KReference{APIVersion: "eventing.knative.dev/v1", Kind: "Broker", Name: trigger.Spec.Broker})
			exists(trigger.Name, trigger.Spec.Subscriber.Ref)
			exists(trigger.Name, trigger.Spec.Delivery.DeadLetterSink.Ref)
		}
		binding := find[*sourcesv1.SinkBinding](t, objects, "ai-admin")
		exists("SinkBinding", binding.Spec.Sink.Ref)
		exists("SinkBinding", &duckv1.KReference{APIVersion: binding.Spec.Subject.APIVersion, Kind: binding.Spec.Subject.Kind, Name: binding.Spec.Subject.Name})
	})
}

// TestEventsInAndOutDoNotMeet holds the two brokers apart: with one, each event that a
// Trigger delivers would appear twice, as our answer and from the outbox.
func TestEventsInAndOutDoNotMeet(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, objects []Object) {
		out := find[*sourcesv1.SinkBinding](t, objects, "ai-admin").Spec.Sink.Ref.Name
		in := find[*eventingv1.Trigger](t, objects, "ai-admin-user-create").Spec.Broker
		if in == out {
			t.Errorf("events come from and go to the one broker %s", in)
		}
	})
}

// TestConfigNamesTheTriggersOwnAccounts computes the service account that Eventing makes
// for each Trigger: a name that differs by a letter is a 401 for every event.
func TestConfigNamesTheTriggersOwnAccounts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, overlay string, objects []Object) {
		settings := find[*corev1.ConfigMap](t, objects, "ai-admin-config").Data["config.yaml"]
		for _, action := range []string{"create", "update", "delete"} {
			trigger := find[*eventingv1.Trigger](t, objects, "ai-admin-user-"+action)
			account := auth.GetOIDCServiceAccountNameForResource(schema.GroupVersionKind{Group: "eventing.knative.dev", Kind: "Trigger"}, trigger.ObjectMeta)
			if want := `"system:serviceaccount:ai-admin-` + overlay + ":" + account + `"`; !strings.Contains(settings, want) {
				t.Errorf("config.yaml does not grant events:send to %s", want)
			}
			if audience := *trigger.Spec.Subscriber.Audience; !strings.Contains(settings, "audience: "+audience+"\n") {
				t.Errorf("config.yaml does not expect the audience %q", audience)
			}
		}
	})
}
