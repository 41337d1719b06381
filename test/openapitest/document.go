package openapitest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// Document is openapi.yaml as JSON, read from the source tree that the test runs in.
func Document() ([]byte, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "pkg", "httpapi", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := yaml.UnmarshalWithOptions(text, &document, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return json.Marshal(document)
}

// moduleRoot walks up from the test's folder: an embedded file could not lie above this one,
// and a path from runtime.Caller is no file under -trimpath.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no go.mod above the test's folder")
}
