package validate

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	eventingconfig "knative.dev/eventing/pkg/apis/config"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/apis/feature"
	messagingconfig "knative.dev/eventing/pkg/apis/messaging/config"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// judged is what Knative's webhooks call on the objects that are theirs.
type judged interface {
	SetDefaults(context.Context)
	Validate(context.Context) *apis.FieldError
}

// kinds is every kind that this repository may render: one that is missing here is an
// error, so that a new kind is not passed by unread.
var kinds = map[string]func() any{
	"serving.knative.dev/v1/Service":     func() any { return new(servingv1.Service) },
	"eventing.knative.dev/v1/Broker":     func() any { return new(eventingv1.Broker) },
	"eventing.knative.dev/v1/Trigger":    func() any { return new(eventingv1.Trigger) },
	"messaging.knative.dev/v1/Channel":   func() any { return new(messagingv1.Channel) },
	"sources.knative.dev/v1/SinkBinding": func() any { return new(sourcesv1.SinkBinding) },
	"v1/Namespace":                       func() any { return new(corev1.Namespace) },
	"v1/ServiceAccount":                  func() any { return new(corev1.ServiceAccount) },
	"v1/ConfigMap":                       func() any { return new(corev1.ConfigMap) },
	"v1/Secret":                          func() any { return new(corev1.Secret) },
	"v1/Service":                         func() any { return new(corev1.Service) },
	"apps/v1/Deployment":                 func() any { return new(appsv1.Deployment) },
	"batch/v1/Job":                       func() any { return new(batchv1.Job) },
	"networking.k8s.io/v1/NetworkPolicy": func() any { return new(networkingv1.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":      func() any { return new(policyv1.PodDisruptionBudget) },
	"postgresql.cnpg.io/v1/Cluster":      func() any { return new(cnpgCluster) },
	"rbac.authorization.k8s.io/v1/Role":  func() any { return new(rbacv1.Role) },
}

// Check decodes o strictly into its type and, where the type is Knative's, defaults and
// validates it as the webhook does on creation. It returns the first problem that would
// make an apply fail or a field be ignored.
func Check(o Object) error {
	_, err := decode(o)
	return err
}

func decode(o Object) (any, error) {
	create, known := kinds[o.APIVersion+"/"+o.Kind]
	if !known {
		return nil, fmt.Errorf("%s: kind %s/%s is not in this package's table", o, o.APIVersion, o.Kind)
	}
	target := create()
	if err := yaml.UnmarshalStrict(o.YAML, target); err != nil {
		return nil, fmt.Errorf("%s: %w", o, err)
	}
	if object, ok := target.(judged); ok {
		ctx := webhookContext()
		object.SetDefaults(ctx)
		// Warnings speak of defaults to come; only errors refuse an apply.
		if err := object.Validate(ctx).Filter(apis.ErrorLevel); err != nil {
			return nil, fmt.Errorf("%s: %w", o, err)
		}
	}
	return target, checkKeys(o)
}

// webhookContext is what Knative's webhooks put in the context: a creation, and the
// settings that Eventing's release ships in its ConfigMaps (default-broker.yaml,
// default-channel.yaml, features.yaml).
func webhookContext() context.Context {
	ctx := apis.WithinCreate(apis.DisallowDeprecated(context.Background()))
	ctx = feature.ToContext(ctx, feature.FromContextOrDefaults(ctx))
	brokers, err := eventingconfig.NewDefaultsConfigFromMap(map[string]string{eventingconfig.BrokerDefaultsKey: `
clusterDefault: {brokerClass: MTChannelBasedBroker, apiVersion: v1, kind: ConfigMap, name: config-br-default-channel, namespace: knative-eventing}`})
	if err != nil {
		panic(err) // the text above is wrong: no input can cause it
	}
	channels, err := messagingconfig.NewChannelDefaultsConfigFromMap(map[string]string{messagingconfig.ChannelDefaulterKey: `
clusterDefault: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}`})
	if err != nil {
		panic(err)
	}
	ctx = eventingconfig.ToContext(ctx, &eventingconfig.Config{Defaults: brokers})
	return messagingconfig.ToContext(ctx, &messagingconfig.Config{ChannelDefaults: channels})
}
