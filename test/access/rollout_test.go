package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aiadmin/test/logtest"
	"aiadmin/test/mounttest"
	"aiadmin/test/pgtest"
)

// process is a copy of ai-admin in a process of its own.
type process struct {
	*exec.Cmd
	address string
	log     *logtest.Buffer
	ended   chan struct{}
}

var build = sync.OnceValues(func() (string, error) {
	binary, err := filepath.Abs("../../.cache/access/ai-admin")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "aiadmin/cmd/ai-admin").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return binary, err
})

func launch(t *testing.T, database string, flags ...string) *process {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{address: listener.Addr().String(), log: &logtest.Buffer{}, ended: make(chan struct{})}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(p.address)
	root := mounttest.Volumes(t, map[string]string{"postgres/PG_URL": database, "vault/k1": strings.Repeat("5a", 32), "vault/PRIMARY": "k1",
		"auth/tokens.json": tokens.entries, "config/config.yaml": "metricsPort: 0\n"})
	p.Cmd = exec.Command(binary, append([]string{"serve", "--mounts", root, "--drain-delay", "300ms"}, flags...)...)
	p.Env, p.Stdout, p.Stderr = append(os.Environ(), "PORT="+port), p.log, p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.ended); _ = p.Wait() }()
	t.Cleanup(func() { _ = p.Process.Kill(); <-p.ended })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got, err := http.Get("http://" + p.address + "/readyz"); err == nil {
			_ = got.Body.Close()
			if got.StatusCode == http.StatusOK {
				return p
			}
		}
	}
	t.Fatalf("not ready:\n%s", p.log)
	return nil
}

// balancer spreads requests over copies in the way of a Kubernetes service's: a copy that refuses
// connections is left out, and a request that reached no copy goes to another.
type balancer struct {
	copies []*httputil.ReverseProxy
	next   atomic.Int64
	torn   atomic.Int64 // requests that were under way on a copy that died
}

type refusedKey struct{}

func newBalancer(t *testing.T, copies ...*process) *balancer {
	b := &balancer{}
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	for _, one := range copies {
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: one.address})
		proxy.Transport = transport
		proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			if refused, _ := r.Context().Value(refusedKey{}).(*bool); errors.Is(err, syscall.ECONNREFUSED) {
				*refused = true
				return
			}
			b.torn.Add(1)
			w.WriteHeader(http.StatusBadGateway)
		}
		b.copies = append(b.copies, proxy)
	}
	return b
}

// ServeHTTP implements [http.Handler].
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first := int(b.next.Add(1))
	for i := range b.copies {
		refused := false
		b.copies[(first+i)%len(b.copies)].ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), refusedKey{}, &refused)))
		if !refused {
			return
		}
	}
	w.WriteHeader(http.StatusBadGateway)
}

// TestARolloutAndADeathStopNoGateway makes checks through a rollout of the administration and the kill of one
// of two access copies: none is wrong, and none fails but those under way on the killed one.
func TestARolloutAndADeathStopNoGateway(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	old := launch(t, database)
	s := &service{url: "http://" + old.address, client: &http.Client{Timeout: 30 * time.Second}}
	var good, bad []key
	for i := range 10 {
		k := s.issue(t, s.user(t, `"models":["m`+strconv.Itoa(i)+`"]`))
		if i%2 == 0 {
			good = append(good, k)
			continue
		}
		s.change(t, k.path(), `{"status":"disabled"}`)
		bad = append(bad, k)
	}
	role := withRole(t, database, grants(t))
	copies := []*process{launch(t, role, "--access-only"), launch(t, role, "--access-only")}
	front := newBalancer(t, copies...)
	listening := httptest.NewServer(front)
	defer listening.Close()
	server := listening.URL

	const clients = 32
	var made, wrong, failed atomic.Int64
	stop := make(chan struct{})
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := c; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				which := 1 + i%(len(good)-1) // the first one is disabled at the end
				k, want, model := good[which], http.StatusOK, "m"+strconv.Itoa(2*which)
				if i%3 == 0 {
					k, want = bad[i%len(bad)], http.StatusUnauthorized
				}
				switch status := ask(client, server, k.Secret, model); {
				case status == want:
				case status == http.StatusBadGateway || status == 0:
					failed.Add(1)
				default:
					wrong.Add(1)
				}
				made.Add(1)
			}
		})
	}
	began := time.Now()
	time.Sleep(time.Second)
	fresh := launch(t, database) // the new revision of the administration, and the end of the old one
	if err := old.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-old.ended
	time.Sleep(500 * time.Millisecond)
	if failed.Load() != 0 {
		t.Errorf("%d checks failed in the rollout", failed.Load())
	}
	if err := copies[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	s.url = "http://" + fresh.address
	s.change(t, good[0].path(), `{"status":"disabled"}`)
	if status := ask(http.DefaultClient, server, good[0].Secret, "m0"); status != http.StatusUnauthorized {
		t.Errorf("disabled through the new administration: %d", status)
	}
	close(stop)
	running.Wait()
	t.Logf("%d checks, %.0f a second, %d failed, %d torn", made.Load(), float64(made.Load())/time.Since(began).Seconds(), failed.Load(), front.torn.Load())
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d answers are wrong", n)
	}
	if n := failed.Load(); n > clients {
		t.Errorf("%d checks failed: no more than %d were under way", n, clients)
	}
	if made.Load() < 500 {
		t.Errorf("only %d checks were made", made.Load())
	}
}

// ask makes a check and returns its status, 0 when there is no answer.
func ask(client *http.Client, server, secret, model string) int {
	r, err := http.NewRequest(http.MethodGet, server+"/ai/admin/authorize", nil)
	if err != nil {
		return 0
	}
	r.Header.Set("X-AI-Gateway-Token", tokens.gateway)
	r.Header.Set("x-api-key", secret)
	r.Header.Set("X-AI-Model", model)
	got, err := client.Do(r)
	if err != nil {
		return 0
	}
	_ = got.Body.Close()
	return got.StatusCode
}
