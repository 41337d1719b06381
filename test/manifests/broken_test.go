package validate

import (
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"
)

const (
	service = "Service/ai-admin"
	trigger = "Trigger/ai-admin-user-create"
	binding = "SinkBinding/ai-admin"
	job     = "Job/ai-admin-migrate"
	pod     = "/spec/template/spec"
	app     = pod + "/containers/0"
	scaling = "/spec/template/metadata/annotations/autoscaling.knative.dev~1"
)

// broken is a table of JSON patches (RFC 6902) to the production overlay, each a mistake
// that a tired person makes, and of what the refusal must say.
var broken = []struct{ name, object, patch, says string }{
	{"unknown field", service, add(pod+"/containerConcurency", "5"), `unknown field "containerConcurency"`},
	{"field at the wrong depth", service, add("/spec/timeoutSeconds", "300"), "unknown field"},
	{"wrong type", service, add(pod+"/containerConcurrency", `"lots"`), "cannot unmarshal"},
	{"negative concurrency", service, add(pod+"/containerConcurrency", "-1"), "expected 0 <= -1 <= 1000"},
	{"concurrency over 1000", service, add(pod+"/containerConcurrency", "1001"), "expected 0 <= 1001 <= 1000"},
	{"timeout over 600", service, add(pod+"/timeoutSeconds", "900"), "expected 0 <= 900 <= 600"},
	{"min over max", service, add(scaling+"min-scale", `"2"`), "max-scale=1 is less than min-scale=2"},
	{"scale is no number", service, add(scaling+"max-scale", `"one"`), "invalid value: one"},
	{"scale is no string", service, add(scaling+"max-scale", "1"), "cannot unmarshal"},
	{"unknown scaling metric", service, add(scaling+"metric", `"vibes"`), "invalid value: vibes"},
	{"misspelt annotation", service, add(scaling+"minimum-scale", `"1"`), "minimum-scale"},
	{"scaling annotation on the Service", service, add("/metadata/annotations", `{"autoscaling.knative.dev/min-scale": "1"}`), "invalid key name"},
	{"misspelt label", service, add("/metadata/labels/networking.knative.dev~1visibilty", `"cluster-local"`), "visibilty"},
	{"two ports", service, add(app+"/ports/-", `{"containerPort": 9095}`), "more than one container port"},
	{"the sidecar's port", service, add(app+"/ports/0/containerPort", "8012"), "8012"},
	{"reserved PORT", service, add(app+"/env/-", `{"name": "PORT", "value": "80"}`), `"PORT" is a reserved environment variable`},
	{"privileged", service, add(app+"/securityContext/privileged", "true"), "must not set the field(s)"},
	{"host path", service, add(pod+"/volumes/1", `{"name": "host", "hostPath": {"path": "/etc"}}`), "hostPath"},
	{"host network", service, add(pod+"/hostNetwork", "true"), "must not set the field(s)"},
	{"volume not mounted", service, add(pod+"/volumes/-", `{"name": "spare", "secret": {"secretName": "spare"}}`), "volume with name \"spare\" not mounted"},
	{"mount without its volume", service, remove(pod + "/volumes/1"), "volumeMount has no matching volume"},
	{"two volumes on one path", service, add(app+"/volumeMounts/1/mountPath", `"/etc/ai-admin/postgres"`), "must be unique"},
	{"two kinds of probe in one", service, add(app+"/readinessProbe/tcpSocket", `{"port": 8080}`), "expected exactly one, got both"},
	{"no image", service, remove(app + "/image"), "missing field(s)"},
	{"no container", service, add(pod+"/containers", "[]"), "missing field(s)"},
	{"trigger without a broker", trigger, remove("/spec/broker"), "missing field(s): spec.broker"},
	{"trigger's filter in upper case", trigger, add("/spec/filter/attributes/TYPE", `"x"`), `invalid key name "TYPE"`},
	{"trigger to nowhere", trigger, remove("/spec/subscriber"), "expected at least one, got none: spec.subscriber.ref"},
	{"backoff in plain seconds", trigger, add("/spec/delivery/backoffDelay", `"1s"`), "invalid value: 1s"},
	{"unknown backoff", trigger, add("/spec/delivery/backoffPolicy", `"sometimes"`), "invalid value: sometimes"},
	{"negative retry", trigger, add("/spec/delivery/retry", "-1"), "invalid value: -1"},
	{"dead letters to nowhere", trigger, add("/spec/delivery/deadLetterSink", "{}"), "deadLetterSink"},
	{"binding to nowhere", binding, remove("/spec/sink"), "spec.sink"},
	{"binding of a nameless subject", binding, remove("/spec/subject/name"), "expected exactly one, got neither: spec.subject.name"},
	{"binding outside its namespace", binding, add("/spec/subject/namespace", `"other"`), "invalid value: other"},
	{"job's field misspelt", job, add("/spec/backofLimit", "1"), "unknown field"},
	{"unknown kind", job, add("/kind", `"Jobs"`), "not in this package's table"},
}

func add(path, value string) string {
	return `[{"op": "add", "path": "` + path + `", "value": ` + value + `}]`
}

func remove(path string) string { return `[{"op": "remove", "path": "` + path + `"}]` }

func TestBrokenVariantsAreRefused(t *testing.T) {
	t.Parallel()
	objects, err := Render("../../config/overlays/production")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range broken {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := patched(t, named(t, objects, row.object), row.patch)
			if err := Check(o); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got error %v, want one with %q", err, row.says)
			}
		})
	}
}

func patched(t *testing.T, o Object, operations string) Object {
	t.Helper()
	patch, err := jsonpatch.DecodePatch([]byte(operations))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := yaml.YAMLToJSON(o.YAML)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = patch.Apply(doc); err != nil {
		t.Fatal(err)
	}
	split, err := Split(doc)
	if err != nil {
		t.Fatal(err)
	}
	return split[0]
}

// named returns the object that kubectl would call kind/name.
func named(t *testing.T, objects []Object, name string) Object {
	t.Helper()
	for _, o := range objects {
		if o.String() == name {
			return o
		}
	}
	t.Fatalf("no %s", name)
	return Object{}
}
