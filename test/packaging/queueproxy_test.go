package packaging_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// sidecar is Knative's real queue-proxy in front of our process.
type sidecar struct {
	*process
	url string
}

// startSidecar runs the queue-proxy with the environment that Knative's reconciler gives
// it. Its ports 8022 and 9090 are fixed: one at a time on a machine, so one test
// has all that need it.
func startSidecar(t *testing.T, queue, app string, timeoutSeconds int) sidecar {
	t.Helper()
	for _, port := range []string{"8022", "9090", "9091"} {
		waitForPort(t, port)
	}
	_, port, err := net.SplitHostPort(app)
	if err != nil {
		t.Fatal(err)
	}
	serving := freePort(t)
	env := []string{
		"CONTAINER_CONCURRENCY=500", fmt.Sprintf("REVISION_TIMEOUT_SECONDS=%d", timeoutSeconds),
		"QUEUE_SERVING_PORT=" + serving, "QUEUE_SERVING_TLS_PORT=" + freePort(t), "USER_PORT=" + port,
		"SERVING_NAMESPACE=default", "SERVING_SERVICE=ai-admin", "SERVING_CONFIGURATION=ai-admin", "SERVING_REVISION=ai-admin-00001",
		"SERVING_POD=ai-admin-00001-0", "SERVING_POD_IP=127.0.0.1",
		"SERVING_LOGGING_CONFIG=", "SERVING_LOGGING_LEVEL=info",
		`SERVING_READINESS_PROBE={"httpGet":{"path":"/readyz","port":` + port + `,"host":"127.0.0.1","scheme":"HTTP"},"successThreshold":1}`,
	}
	s := sidecar{start(t, env, queue), "http://127.0.0.1:" + serving}
	eventually(t, s.process, func() bool { return s.probe() == http.StatusOK })
	return s
}

// probe asks the sidecar as the kubelet does, and returns 0 where nothing answers.
func (s sidecar) probe() int {
	request, _ := http.NewRequest(http.MethodGet, s.url, nil) // the URL is our own
	request.Header.Set("User-Agent", "kube-probe/1")
	request.Header.Set("K-Network-Probe", "queue")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// freePort returns a port that was free a moment ago: the sidecar takes no port 0.
func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// waitForPort gives another run of this test on the same machine time to end.
func waitForPort(t *testing.T, port string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var listener net.Listener
		if listener, err = net.Listen("tcp", ":"+port); err == nil {
			_ = listener.Close()
			return
		}
	}
	t.Skipf("SKIP: the sidecar's fixed port %s is in use here: %v", port, err)
}

// TestBehindQueueProxy runs what Knative runs in a pod: its sidecar, and our process
// behind it.
func TestBehindQueueProxy(t *testing.T) {
	t.Parallel()
	queue := tool(t, "test/manifests/go.mod", "queue")
	const settings = "metricsPort: 0\n"
	database := pgtest.Database(t)
	app, address := serve(t, mounts(t, database, settings))
	_, hasty := serve(t, mounts(t, database, settings), "--request-timeout=1s")

	t.Run("our timeout", func(t *testing.T) { timesOut(t, startSidecar(t, queue, hasty, 300), database, "TIMEOUT") })
	t.Run("its timeout", func(t *testing.T) { timesOut(t, startSidecar(t, queue, address, 1), database, "request timeout") })

	s := startSidecar(t, queue, address, 300)
	c := client{t: t, url: s.url}
	t.Run("ready", func(t *testing.T) { c.on(t).want(http.MethodGet, "/readyz", "", http.StatusOK) })
	t.Run("routes", func(t *testing.T) { everyRoute(c.on(t)) })
	t.Run("events", func(t *testing.T) { everyMode(c.on(t)) })
	t.Run("500 at once", func(t *testing.T) { manyAtOnce(t, s.url) })
	t.Run("stop under load", func(t *testing.T) { stopsUnderLoad(t, s, app) })
}
