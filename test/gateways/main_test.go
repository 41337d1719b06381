package gateways

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aiadmin/pkg/apt"
	"aiadmin/test/logtest"
)

// packages of Debian with the gateways, by program.
var packages = map[string][]string{"nginx": {"nginx-core", "libnginx-mod-http-js"}, "haproxy": {"haproxy"}, "caddy": {"caddy"},
	"uvicorn": {"uvicorn", "python3-fastapi", "python3-httpx"}}

const configs = "../../config/gateways"

var install struct {
	once sync.Once
	err  error
}

// find returns the path of a gateway's program. It installs what is missing, once for all.
func find(t *testing.T, program string) string {
	t.Helper()
	install.once.Do(func() {
		var missing []string
		for name, needed := range packages {
			if _, err := look(name); err != nil {
				missing = append(missing, needed...)
			}
		}
		if len(missing) > 0 {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			install.err = apt.Install(ctx, os.Stderr, missing...)
		}
	})
	path, err := look(program)
	if err != nil {
		t.Skipf("%s is not here and cannot be installed: %v", program, errors.Join(err, install.err))
	}
	return path
}

// look finds a program, also where Debian keeps those of administrators.
func look(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

// process is a gateway that runs.
type process struct {
	address string
	output  *logtest.Buffer
}

// gateway says how one of the examples is started.
type gateway struct {
	name    string
	program string
	folder  string
	// start returns the arguments that have it listen on address; dir is a copy of the folder in which variables stand for themselves.
	start func(t *testing.T, dir, address string) []string
	// seesBody says that the model in a body is seen, up to limit bytes.
	seesBody bool
	limit    int
	// problems says that a refusal is passed on with its body.
	problems bool
}

var gateways = []gateway{
	{name: "nginx", program: "nginx", folder: "nginx", start: nginx("nginx.conf"), seesBody: true, limit: 32 << 20, problems: true},
	{name: "nginx without njs", program: "nginx", folder: "nginx", start: nginx("nginx-plain.conf")},
	{name: "haproxy", program: "haproxy", folder: "haproxy", start: func(_ *testing.T, dir, _ string) []string {
		return []string{"-db", "-C", dir, "-f", "haproxy.cfg"}
	}, seesBody: true, limit: 200_000, problems: true},
	{name: "caddy", program: "caddy", folder: "caddy", start: caddy, problems: true},
}

// caddy buffers requests, as far as Debian's old release is concerned: of those that it passes on
// while they come, it cuts one stream in twenty off after its first event.
func caddy(t *testing.T, dir, _ string) []string {
	path := filepath.Join(dir, "Caddyfile")
	edit(t, path, "reverse_proxy {$PROVIDER} {", "reverse_proxy {$PROVIDER} {\n\t\t\tbuffer_requests")
	return []string{"run", "--adapter", "caddyfile", "--config", path}
}

// edit replaces a part of a file that must be there.
func edit(t *testing.T, path, old, new string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s has no %q any more", path, old)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// nginx keeps its files below dir, so that it needs no rights.
func nginx(file string) func(t *testing.T, dir, address string) []string {
	return func(t *testing.T, dir, _ string) []string {
		path := filepath.Join(dir, file)
		own := "http {\n"
		for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			own += fmt.Sprintf("    %s_temp_path %s;\n", name, filepath.Join(dir, name))
		}
		edit(t, path, "http {\n", own)
		user := ""
		if os.Geteuid() == 0 {
			user = "user root; "
		}
		return []string{"-p", dir, "-c", path, "-g", user + "daemon off; master_process off; pid " + filepath.Join(dir, "pid") + ";"}
	}
}

// run starts a gateway and waits until it listens. It is stopped when the test ends.
func (g gateway) run(t *testing.T, admin, provider, token string) *process {
	t.Helper()
	program := find(t, g.program)
	p := &process{address: freeAddress(t), output: &logtest.Buffer{}}
	values := map[string]string{"AI_ADMIN": admin, "PROVIDER": provider, "LISTEN": p.address, "GATEWAY_TOKEN": token}
	dir := g.copyTo(t, values)
	command := exec.Command(program, g.start(t, dir, p.address)...)
	command.Stdout, command.Stderr, command.Dir = p.output, p.output, dir
	command.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	for name, value := range values {
		command.Env = append(command.Env, name+"="+value)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", g.name, p.output)
		}
	})
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", p.address); err == nil {
			_ = conn.Close()
			return p
		}
		select {
		case <-ended:
			t.Fatalf("%s ended at its start", g.name)
		default:
		}
	}
	t.Fatalf("%s does not listen", g.name)
	return nil
}

// copyTo copies the example, and fills in nginx's variables as envsubst would.
func (g gateway) copyTo(t *testing.T, values map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(filepath.Join(configs, g.folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(configs, g.folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if g.program == "nginx" {
			for name, value := range values {
				text = []byte(strings.ReplaceAll(string(text), "${"+name+"}", value))
			}
		}
		if err := os.WriteFile(filepath.Join(dir, entry.Name()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// freeAddress is an address that nobody listens on at present.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
