// Package envoy has config/gateways/envoy judged by Envoy's own definitions: the bootstrap by its protocol
// buffers and their rules, and what is for Envoy Gateway by its API's types.
package envoy

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	gateway "github.com/envoyproxy/gateway/api/v1alpha1"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	"sigs.k8s.io/yaml"
)

// example returns a file of the example with what envsubst would put in.
func example(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("../../config/gateways/envoy/" + file)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"AI_ADMIN_HOST": "ai-admin-access", "AI_ADMIN_PORT": "80", "PROVIDER_HOST": "provider",
		"PROVIDER_PORT": "80", "LISTEN_HOST": "0.0.0.0", "LISTEN_PORT": "8080", "GATEWAY_TOKEN": "aia_gateway"}
	withoutComments := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(text), "")
	return os.Expand(withoutComments, func(name string) string {
		if values[name] == "" {
			t.Errorf("%s names ${%s}", file, name)
		}
		return values[name]
	})
}

// bootstrap reads a configuration as Envoy does: what it does not know is an error.
func bootstrap(text string) (*bootstrapv3.Bootstrap, error) {
	document, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, err
	}
	var b bootstrapv3.Bootstrap
	if err := protojson.Unmarshal(document, &b); err != nil {
		return nil, err
	}
	return &b, validate(&b)
}

// validate holds a message and every message packed in it against their rules.
func validate(m proto.Message) error {
	return protorange.Range(m.ProtoReflect(), func(values protopath.Values) error {
		last := values.Index(-1)
		if kind := last.Step.Kind(); kind != protopath.RootStep && kind != protopath.AnyExpandStep {
			return nil
		}
		ruled, ok := last.Value.Message().Interface().(interface{ ValidateAll() error })
		if !ok {
			return fmt.Errorf("%v: no rules", values.Path)
		}
		return ruled.ValidateAll()
	})
}

// TestEnvoyTakesItsExample also breaks the example in ways that must be seen.
func TestEnvoyTakesItsExample(t *testing.T) {
	text := example(t, "envoy.yaml")
	if _, err := bootstrap(text); err != nil {
		t.Fatal(err)
	}
	for was, is := range map[string]string{
		"failure_mode_allow: false":  "failure_mode_alow: false", // no such field
		"OVERWRITE_IF_EXISTS_OR_ADD": "OVERWRITE",                // no such value
		"stat_prefix: gateway":       "stat_prefix: ''",          // refused by a rule, inside a packed message
		"ext_authz.v3.ExtAuthz":      "ext_authz.v3.ExtAuth",     // no such message
		"normalize_path: true":       "normalize_path: 'yes'",    // no boolean
		"remove: x-ai-subject":       `remove: "x-ai\nsubject"`,  // no header's name
	} {
		broken := strings.Replace(text, was, is, 1)
		if _, err := bootstrap(broken); err == nil || broken == text {
			t.Errorf("%s instead of %s is taken", is, was)
		}
	}
}

// TestEnvoyGatewayTakesItsExample decodes each resource strictly into its type.
func TestEnvoyGatewayTakesItsExample(t *testing.T) {
	types := map[string]any{
		"ClientTrafficPolicy": &gateway.ClientTrafficPolicy{}, "SecurityPolicy": &gateway.SecurityPolicy{},
		"ReferenceGrant": &gatewayv1beta1.ReferenceGrant{}, "HTTPRoute": &gatewayv1.HTTPRoute{},
	}
	for document := range strings.SplitSeq(example(t, "envoy-gateway.yaml"), "\n---\n") {
		var meta struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
			t.Fatal(err)
		}
		into := types[meta.Kind]
		delete(types, meta.Kind)
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Errorf("%s: %v", meta.Kind, err)
		}
	}
	for kind := range types {
		t.Errorf("no %s", kind)
	}
}
