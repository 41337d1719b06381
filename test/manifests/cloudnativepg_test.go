package validate

import (
	"maps"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// cnpgSecrets are the keys of the Secrets that the operator makes for a cluster.
var cnpgSecrets = map[string][]string{
	"-app": {"username", "user", "password", "dbname", "host", "port", "uri", "fqdn-uri", "jdbc-uri", "fqdn-jdbc-uri", "pgpass"},
	"-ca":  {"ca.crt", "ca.key"},
}

func TestCloudNativePG(t *testing.T) {
	t.Parallel()
	objects, err := Render("testdata/cloudnative-pg")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if err := Check(o); err != nil {
			t.Error(err)
		}
	}
	cluster := find[*cnpgCluster](t, objects, "ai-admin-db")
	if s := cluster.Spec.PostgreSQL.Synchronous; cluster.Spec.Instances != 3 || s.Number != 1 || s.DataDurability != "required" ||
		!slices.Contains([]string{"any", "first"}, s.Method) || cluster.Spec.Affinity.PodAntiAffinityType != "required" {
		t.Errorf("an acknowledged change may be lost: %+v", cluster.Spec)
	}
	if init := cluster.Spec.Bootstrap.InitDB; init.Encoding != "UTF8" || init.LocaleCType != "C.UTF-8" {
		t.Errorf("the service refuses the encoding, or letters are not compared: %+v", init)
	}
	for name, volumes := range map[string][]corev1.Volume{
		"serve":   find[*servingv1.Service](t, objects, "ai-admin").Spec.Template.Spec.Volumes,
		"migrate": find[*batchv1.Job](t, objects, "ai-admin-migrate").Spec.Template.Spec.Volumes,
	} {
		if problems := readsDatabase(volumes, cluster.Name); len(problems) > 0 {
			t.Errorf("%s: %s", name, strings.Join(problems, "; "))
		}
	}
}

// readsDatabase compares the postgres volume with what the service reads and the operator writes.
func readsDatabase(volumes []corev1.Volume, cluster string) (problems []string) {
	needed := []string{"PG_DB", "PG_HOST", "PG_PASS", "PG_PORT", "PG_SSLROOTCERT", "PG_USER"}
	mounted := map[string]bool{}
	for _, v := range volumes {
		if v.Name != "postgres" || v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			keys := cnpgSecrets[strings.TrimPrefix(source.Secret.Name, cluster)]
			for _, item := range source.Secret.Items {
				mounted[item.Path] = true
				if !slices.Contains(keys, item.Key) {
					problems = append(problems, source.Secret.Name+" has no "+item.Key)
				}
			}
		}
	}
	if got := slices.Sorted(maps.Keys(mounted)); !slices.Equal(got, needed) {
		problems = append(problems, "mounted are "+strings.Join(got, ", "))
	}
	return problems
}

// TestDrainsAreNotForbidden holds that nobody's node drain waits for ever.
func TestDrainsAreNotForbidden(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, _ string, objects []Object) {
		budget := find[*policyv1.PodDisruptionBudget](t, objects, "ai-admin").Spec
		if budget.MinAvailable != nil || budget.MaxUnavailable.IntValue() < 1 || *budget.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
			t.Errorf("%+v", budget)
		}
		if budget.Selector.MatchLabels["serving.knative.dev/service"] != "ai-admin" {
			t.Errorf("it speaks of no pod that Knative makes: %+v", budget.Selector)
		}
	})
}
