package validate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cluster is a Kubernetes API without nodes, with Knative's own webhooks before it: etcd,
// kube-apiserver and the two webhook programs are processes of this test, ended by it.
type cluster struct {
	t                    *testing.T
	dir, bin, kubeconfig string
	url                  string
}

// newCluster builds what is not built yet (kept in .cache/e2e; the first time takes a
// quarter of an hour on two cores) and starts it.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	bin, err := filepath.Abs("../../.cache/e2e")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: t.TempDir(), bin: bin}
	for _, b := range []struct{ name, module, pkg string }{
		{"etcd", "../../tools/etcd", "go.etcd.io/etcd/server/v3"},
		{"kube-apiserver", "../../tools/node", "k8s.io/kubernetes/cmd/kube-apiserver"},
		{"kubectl", "../../tools/node", "k8s.io/kubernetes/cmd/kubectl"},
		{"kn", "../../tools/kn", "."},
		{"serving-webhook", ".", "knative.dev/serving/cmd/webhook"},
		{"eventing-webhook", ".", "knative.dev/eventing/cmd/webhook"},
	} {
		c.build(b.name, b.module, b.pkg)
	}
	c.startAPI()
	return c
}

// on is c for a subtest.
func (c *cluster) on(t *testing.T) *cluster { sub := *c; sub.t = t; return &sub }

func (c *cluster) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "e2e: "+format+"\n", args...)
}

func (c *cluster) build(name, module, pkg string) {
	c.t.Helper()
	started := time.Now()
	c.progress("building %s (%s)", name, pkg)
	cmd := exec.CommandContext(c.t.Context(), "go", "build", "-buildvcs=false", version, "-o", filepath.Join(c.bin, name), pkg)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	c.progress("built %s in %v", name, time.Since(started).Round(time.Second))
}

// version is stamped into Kubernetes as its own build does: unstamped, Knative's webhooks
// refuse it as no version at all. The other programs have no such variable.
const version = "-ldflags=-X k8s.io/component-base/version.gitVersion=v1.34.4"

// start runs a program until the test ends.
func (c *cluster) start(env []string, name string, args ...string) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, env, log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.progress("started %s, pid %d", name, cmd.Process.Pid)
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		c.progress("ended %s, pid %d", name, cmd.Process.Pid)
		if c.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			c.t.Logf("the end of %s's log:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
}

func (c *cluster) startAPI() {
	etcd, peer, port := freePort(c.t), freePort(c.t), freePort(c.t)
	c.start(nil, "etcd", "--data-dir", filepath.Join(c.dir, "etcd"),
		"--listen-client-urls=http://127.0.0.1:"+etcd, "--advertise-client-urls=http://127.0.0.1:"+etcd,
		"--listen-peer-urls=http://127.0.0.1:"+peer, "--initial-advertise-peer-urls=http://127.0.0.1:"+peer,
		"--initial-cluster=default=http://127.0.0.1:"+peer, "--unsafe-no-fsync")
	key := c.write("sa.key", newKey(c.t))
	const password = "e2e-only"
	c.start([]string{"HOME=" + c.dir}, "kube-apiserver", "--etcd-servers=http://127.0.0.1:"+etcd,
		"--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+c.dir, "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=AlwaysAllow",
		"--token-auth-file="+c.write("tokens.csv", password+",admin,admin,system:masters\n"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+key, "--service-account-signing-key-file="+key)
	c.url = "https://127.0.0.1:" + port
	c.kubeconfig = c.write("kubeconfig", `apiVersion: v1
kind: Config
current-context: e2e
clusters: [{name: e2e, cluster: {server: "`+c.url+`", insecure-skip-tls-verify: true}}]
users: [{name: e2e, user: {token: `+password+`}}]
contexts: [{name: e2e, context: {cluster: e2e, user: e2e}}]
`)
	c.eventually("the API is ready", func() error { _, err := c.kubectl("", "get", "--raw", "/readyz"); return err })
}

func (c *cluster) write(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// kubectl runs kubectl with stdin and returns what it printed, on both streams.
func (c *cluster) kubectl(stdin string, args ...string) (string, error) {
	return c.client("kubectl", stdin, args...)
}

func (c *cluster) client(name, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Env = []string{"KUBECONFIG=" + c.kubeconfig, "HOME=" + c.dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) must(stdin string, args ...string) string {
	c.t.Helper()
	out, err := c.kubectl(stdin, args...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *cluster) eventually(what string, try func() error) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			c.progress("%s", what)
			return
		}
	}
	c.t.Fatalf("not within two minutes: %s: %v", what, err)
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// newKey makes the key that service account tokens are signed with.
func newKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}
