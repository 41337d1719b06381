package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"aiadmin/pkg/config"
)

// The page that operators read must show the real defaults and a file that is taken.
func TestConfigurationPageIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d yaml blocks, want the defaults and an example", len(blocks))
	}
	defaults, err := config.Parse(yaml(blocks[0][1]))
	if diff := cmp.Diff(config.Default(), defaults, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%v, defaults (-code +page):\n%s", err, diff)
	}
	if _, err := config.Parse(yaml(blocks[1][1])); err != nil {
		t.Errorf("the example: %v", err)
	}
	_, err = config.Parse(yaml("auth: required\nlogLevels: info\nretention:\n  claims: 7d\n"))
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.Contains(string(page), "/config/"+line+"\n") {
			t.Errorf("the page shows another line than %s", line)
		}
	}
}
