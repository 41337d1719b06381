package validate

import (
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// function is the part of func.yaml (specVersion 0.36.0) that this repository uses;
// decoding is strict, so another field in the file is an error here.
type function struct {
	SpecVersion, Name, Runtime, Invoke, Created string
	Build                                       struct{ Builder string }
	Run                                         struct {
		Volumes []struct{ Secret, ConfigMap, Path string }
		Envs    []struct{ Name, Value string }
	}
	Deploy struct {
		ServiceAccountName string
		HealthEndpoints    struct{ Liveness, Readiness string }
		Options            struct {
			Scale struct {
				Min, Max, Target, Utilization int
				Metric                        string
			}
			Resources struct {
				Requests struct{ CPU, Memory string }
				Limits   struct {
					Memory      string
					Concurrency int64
				}
			}
		}
		Subscriptions []struct {
			Source  string
			Filters map[string]string
		}
	}
}

// deployed is what must be the same however the service comes onto the cluster.
type deployed struct {
	Name, Account, CPU, Memory, MaxMemory string
	Concurrency                           int64
	Scaling, Environment, Volumes         map[string]string
	Filters                               []string
}

func TestFuncYAMLAgreesWithConfig(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../func.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f function
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		t.Fatal(err)
	}
	if f.SpecVersion != "0.36.0" || f.Runtime != "go" || f.Invoke != "http" || f.Build.Builder != "host" {
		t.Errorf("func would not build this: %+v", f)
	}
	if f.Deploy.HealthEndpoints.Readiness != "/health/readiness" || f.Deploy.HealthEndpoints.Liveness != "/health/liveness" {
		t.Errorf("func's server answers no other probes: %+v", f.Deploy.HealthEndpoints)
	}
	objects, err := Render("../../config/overlays/production")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromConfig(t, objects), f.deployed()); diff != "" {
		t.Errorf("config/ (-) and func.yaml (+) differ:\n%s", diff)
	}
}

func (f function) deployed() deployed {
	o := f.Deploy.Options
	d := deployed{
		Name: f.Name, Account: f.Deploy.ServiceAccountName, Concurrency: o.Resources.Limits.Concurrency,
		CPU: o.Resources.Requests.CPU, Memory: o.Resources.Requests.Memory, MaxMemory: o.Resources.Limits.Memory,
		Scaling: map[string]string{
			"min-scale": strconv.Itoa(o.Scale.Min), "max-scale": strconv.Itoa(o.Scale.Max), "metric": o.Scale.Metric,
			"target": strconv.Itoa(o.Scale.Target), "target-utilization-percentage": strconv.Itoa(o.Scale.Utilization),
		},
		Environment: map[string]string{}, Volumes: map[string]string{},
	}
	for _, e := range f.Run.Envs {
		d.Environment[e.Name] = e.Value
	}
	for _, v := range f.Run.Volumes {
		d.Volumes[v.Path] = v.Secret + v.ConfigMap
	}
	for _, s := range f.Deploy.Subscriptions {
		d.Filters = append(d.Filters, s.Source+" "+s.Filters["type"])
	}
	return d
}

func fromConfig(t *testing.T, objects []Object) deployed {
	t.Helper()
	service := find[*servingv1.Service](t, objects, "ai-admin")
	spec := service.Spec.Template.Spec
	container := spec.Containers[0]
	d := deployed{
		Name: service.Name, Account: spec.ServiceAccountName, Concurrency: *spec.ContainerConcurrency,
		CPU: container.Resources.Requests.Cpu().String(), Memory: container.Resources.Requests.Memory().String(),
		MaxMemory: container.Resources.Limits.Memory().String(),
		Scaling:   map[string]string{}, Environment: map[string]string{}, Volumes: map[string]string{},
	}
	for _, key := range []string{"min-scale", "max-scale", "metric", "target", "target-utilization-percentage"} {
		d.Scaling[key] = service.Spec.Template.Annotations["autoscaling.knative.dev/"+key]
	}
	for _, e := range container.Env {
		d.Environment[e.Name] = e.Value
	}
	for _, m := range container.VolumeMounts {
		d.Volumes[m.MountPath] = source(spec.Volumes, m.Name)
	}
	for _, action := range []string{"create", "update", "delete"} {
		trigger := find[*eventingv1.Trigger](t, objects, "ai-admin-user-"+action)
		d.Filters = append(d.Filters, trigger.Spec.Broker+" "+trigger.Spec.Filter.Attributes["type"])
	}
	return d
}

// source names the Secret or ConfigMap behind the volume called name.
func source(volumes []corev1.Volume, name string) string {
	for _, v := range volumes {
		switch {
		case v.Name != name:
		case v.Secret != nil:
			return v.Secret.SecretName
		case v.ConfigMap != nil:
			return v.ConfigMap.Name
		case v.Projected != nil:
			return v.Projected.Sources[0].ConfigMap.Name
		}
	}
	return ""
}
