package httpapi

import (
	_ "embed"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"

	"aiadmin/pkg/request"
	"aiadmin/pkg/user"
)

func (a *API) livez(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, r, http.StatusOK, []byte(`{"status":"ok"}`))
}

// readyz names the failing check, so that a look at it tells where to look next.
func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	status, report := http.StatusOK, map[string]any{"status": "ok"}
	check, err := a.options.Ready(r.Context())
	severity := a.probed(check)
	if err != nil {
		known := request.Of(r.Context())
		known.Failure, known.Severity = err, severity
		status, report = http.StatusServiceUnavailable, map[string]any{"status": "failing", "check": check}
		if public, ok := errors.AsType[*user.Error](err); ok {
			report["reason"] = public.Message
		}
		w.Header().Set("Retry-After", "1")
	}
	if r.URL.Query().Has("verbose") && a.options.Verbose != nil {
		for name, value := range a.options.Verbose(r.Context()) {
			report[name] = value
		}
	}
	body, err := json.Marshal(report, json.Deterministic(true))
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, r, status, body)
}

// probed notes the failing check, empty for none, and returns how loud the probe's line is:
// a start and a stop are no errors, and who probes asks many times while nothing changes.
func (a *API) probed(check string) slog.Level {
	if before := a.failing.Swap(&check); before == nil || *before != check {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

//go:embed openapi.yaml
var openAPIDocument []byte

// openAPIJSON converts the document to JSON; its info.version is the service's.
func openAPIJSON(version string) ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(openAPIDocument, &document); err != nil {
		return nil, err
	}
	if info, ok := document["info"].(map[string]any); ok && version != "" {
		info["version"] = version
	}
	return json.Marshal(document, json.Deterministic(true))
}

func (a *API) serveOpenAPI(w http.ResponseWriter, r *http.Request) error {
	document, err := a.openAPI()
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, document)
}
