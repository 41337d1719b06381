package validate

import (
	"fmt"
	"sort"
	"strings"

	"sigs.k8s.io/yaml"
)

// known is every annotation and label that the manifests may carry. Knative ignores a
// misspelt one without a word, which is how a service quietly scales to zero.
var known = map[string]bool{
	"autoscaling.knative.dev/min-scale":                     true,
	"autoscaling.knative.dev/max-scale":                     true,
	"autoscaling.knative.dev/metric":                        true,
	"autoscaling.knative.dev/target":                        true,
	"autoscaling.knative.dev/target-utilization-percentage": true,
	"networking.knative.dev/visibility":                     true,
	"pod-security.kubernetes.io/enforce":                    true,
	"app.kubernetes.io/name":                                true,
	"app.kubernetes.io/component":                           true,
	"app.kubernetes.io/part-of":                             true,
	"ai-admin.example.com/example-only":                     true,
}

// checkKeys refuses an annotation or label that is not known, at the object and at its
// pod template.
func checkKeys(o Object) error {
	type meta struct{ Labels, Annotations map[string]string }
	var all struct {
		Metadata meta
		Spec     struct{ Template struct{ Metadata meta } }
	}
	if err := yaml.Unmarshal(o.YAML, &all); err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	var strange []string
	for _, m := range []meta{all.Metadata, all.Spec.Template.Metadata} {
		for _, keys := range []map[string]string{m.Labels, m.Annotations} {
			for key := range keys {
				if !known[key] {
					strange = append(strange, key)
				}
			}
		}
	}
	if len(strange) == 0 {
		return nil
	}
	sort.Strings(strange)
	return fmt.Errorf("%s: unknown label or annotation %s", o, strings.Join(strange, ", "))
}
