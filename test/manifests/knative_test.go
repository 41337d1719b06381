package validate

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// part is one of Knative's two: where its release files are in its module, and its
// webhook as a Deployment would run it.
type part struct {
	module, namespace, webhook, secret string
	crds                               []string // folders of the module, or files
}

var parts = []part{
	{"knative.dev/serving", "knative-serving", "webhook", "webhook-certs", []string{"config/core/300-resources"}},
	{"knative.dev/eventing", "knative-eventing", "eventing-webhook", "eventing-webhook-certs", []string{"config/core/resources"}},
}

// install applies p's CRDs, settings and webhook configurations, and runs its webhook
// here: the Service that the API server looks for is an ExternalName of this machine.
func (c *cluster) install(p part) {
	c.t.Helper()
	dir := moduleDir(c, p.module)
	c.must("", "create", "namespace", p.namespace)
	for _, crds := range p.crds {
		c.must("", "apply", "--server-side", "-f", filepath.Join(dir, crds))
	}
	c.must("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	c.must("", "apply", "--server-side", "-f", filepath.Join(dir, "config/core/configmaps"))
	port := freePort(c.t)
	c.must(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s}\nspec: {type: ExternalName, externalName: localhost}\n", p.webhook, p.namespace),
		"apply", "-f", "-")
	c.start([]string{
		"KUBECONFIG=" + c.kubeconfig, "SYSTEM_NAMESPACE=" + p.namespace, "POD_NAME=" + p.webhook + "-0", "HOME=" + c.dir,
		"CONFIG_LOGGING_NAME=config-logging", "CONFIG_OBSERVABILITY_NAME=config-observability", "METRICS_DOMAIN=" + p.module,
		"WEBHOOK_NAME=" + p.webhook, "WEBHOOK_PORT=" + port, "SINK_BINDING_SELECTION_MODE=exclusion",
	}, strings.TrimPrefix(p.namespace, "knative-")+"-webhook")
	c.applyWebhooks(filepath.Join(dir, "config/core/webhooks"), port)
}

// applyWebhooks points the webhook configurations at port and waits for the webhook to
// have written its certificate into each: only then is it asked.
func (c *cluster) applyWebhooks(dir, port string) {
	c.t.Helper()
	text := c.must("", "create", "--dry-run=client", "-o", "yaml", "-f", dir)
	text = regexp.MustCompile(`(\n +)namespace: knative-(serving|eventing)\n`).ReplaceAllString(text, "${1}namespace: knative-$2${1}port: "+port+"\n")
	text = regexp.MustCompile(`(?m)^  port: .*\n`).ReplaceAllString(text, "") // the Secret's own namespace
	var names []string
	c.must(text, "apply", "--server-side", "-f", "-")
	for _, line := range strings.Split(c.must(text, "get", "-f", "-", "-o", "name"), "\n") {
		if strings.Contains(line, "webhookconfiguration") {
			names = append(names, strings.TrimSpace(line))
		}
	}
	if len(names) == 0 {
		c.t.Fatal("no webhook was configured: nothing would be judged")
	}
	for _, name := range names {
		c.eventually(name+" is served", func() error {
			bundle, err := c.kubectl("", "get", name, "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}")
			if err == nil && !strings.HasPrefix(bundle, "LS0t") { // PEM in base64
				err = errors.New("no certificate yet")
			}
			return err
		})
	}
}

func moduleDir(c *cluster, module string) string {
	c.t.Helper()
	out, err := exec.CommandContext(c.t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
