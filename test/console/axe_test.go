package console

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// axeVersion is the release of axe-core that judges the pages.
const axeVersion = "4.10.3"

// axe is the text of axe-core, from npm; why is the reason when it cannot be had.
var axe = sync.OnceValues(func() (text, why string) {
	dir := filepath.Join("..", "..", ".cache", "axe")
	file := filepath.Join(dir, "package", "axe.min.js")
	if content, err := os.ReadFile(file); err == nil {
		return string(content), ""
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err.Error()
	}
	pack := exec.Command("npm", "pack", "--silent", "axe-core@"+axeVersion)
	pack.Dir = dir
	if out, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Sprintf("npm pack: %v %.200s", err, out)
	}
	unpack := exec.Command("tar", "xzf", "axe-core-"+axeVersion+".tgz", "package/axe.min.js")
	unpack.Dir = dir
	if out, err := unpack.CombinedOutput(); err != nil {
		return "", fmt.Sprintf("tar: %v %.200s", err, out)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err.Error()
	}
	return string(content), ""
})

func needAxe(t testing.TB) {
	t.Helper()
	if _, why := axe(); why != "" {
		t.Skip("accessibility is not tested: axe-core cannot be had: " + why)
	}
}

// accessible fails for each finding of axe-core on the page as it is now; without axe-core it says nothing.
func (p *tab) accessible(state string) {
	p.Helper()
	text, why := axe()
	if why != "" {
		return
	}
	p.do(text + "; undefined")
	found := eval[string](p, `axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations.map(v =>
		({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 200) + ' ' + n.failureSummary)}))))`)
	var findings []struct {
		ID, Help string
		Nodes    []string
	}
	if err := json.Unmarshal([]byte(found), &findings); err != nil {
		p.Fatal(err)
	}
	for _, one := range findings {
		p.Errorf("%s: %s: %s\n%s", state, one.ID, one.Help, strings.Join(one.Nodes[:min(3, len(one.Nodes))], "\n"))
	}
}
