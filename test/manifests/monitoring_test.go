package validate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// alerts reads the rules strictly: a misspelt field is how an alert never fires.
func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile("../../config/monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		APIVersion, Kind string
		Metadata         struct {
			Name        string
			Annotations map[string]string
		}
		Spec struct {
			Groups []struct {
				Name  string
				Rules []alert
			}
		}
	}
	if err := yaml.UnmarshalStrict(text, &rules); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, group := range rules.Spec.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no alerts: this test looks at nothing")
	}
	return all
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	exported := exportedMetrics(t)
	runbook, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts(t) {
		t.Run(a.Alert, func(t *testing.T) {
			if err := namesOnly(a.Expr, exported); err != nil {
				t.Error(err)
			}
			if _, err := time.ParseDuration(a.For); a.For != "" && err != nil {
				t.Errorf("for: %v", err)
			}
			if a.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning"}, a.Labels["severity"]) {
				t.Error("lacks a summary or a severity")
			}
			if _, anchor, _ := strings.Cut(a.Annotations["runbook_url"], "docs/runbook.md#"); anchor != strings.ToLower(a.Alert) {
				t.Errorf("runbook_url is %q", a.Annotations["runbook_url"])
			}
			if !strings.Contains(string(runbook), "### "+a.Alert+"\n") {
				t.Error("docs/runbook.md does not say what it means")
			}
		})
	}
}

// TestRunbookAddress sets the address of the runbook as docs/deploy.md says, and expects it in every alert.
func TestRunbookAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../config/monitoring")); err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(dir, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://git.example.com/ai-admin/blob/v1/docs/runbook.md"
	rules = bytes.Replace(rules, []byte("ai-admin/runbook: docs/runbook.md"), []byte("ai-admin/runbook: "+address), 1)
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), rules, 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := Render(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.Kind == "PrometheusRule" {
			if found := bytes.Count(o.YAML, []byte("runbook_url: "+address+"#aiadmin")); found != len(alerts(t)) {
				t.Errorf("%d of %d alerts have the address:\n%s", found, len(alerts(t)), o.YAML)
			}
			return
		}
	}
	t.Error("no PrometheusRule was rendered")
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) == 0 {
		t.Fatal("no panels: this test looks at nothing")
	}
	exported := exportedMetrics(t)
	var rows []string
	for _, panel := range dashboard.Panels {
		if panel.Type == "row" {
			rows = append(rows, panel.Title)
		} else if len(panel.Targets) == 0 {
			t.Errorf("%s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
			if err := namesOnly(expr, exported); err != nil {
				t.Errorf("%s: %v", panel.Title, err)
			}
		}
	}
	if want := []string{"Access", "SCIM", "Audit", "Imports"}; !slices.Equal(rows, want) {
		t.Errorf("the rows are %q, want %q", rows, want)
	}
}

// foreign are metrics that Prometheus or Go's own collectors make.
var foreign = []string{"up", "process_resident_memory_bytes", "go_memstats_heap_inuse_bytes"}

// namesOnly parses a PromQL expression and refuses one that asks for a metric that
// nobody exports.
func namesOnly(expr string, exported []string) error {
	tree, err := parser.ParseExpr(expr)
	if err != nil {
		return err
	}
	var unknown []string
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if selector, ok := n.(*parser.VectorSelector); ok {
			name := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(selector.Name, "")
			if !slices.Contains(exported, name) && !slices.Contains(foreign, name) {
				unknown = append(unknown, selector.Name)
			}
		}
		return nil
	})
	if len(unknown) > 0 {
		return fmt.Errorf("nothing exports %s", strings.Join(unknown, ", "))
	}
	return nil
}
