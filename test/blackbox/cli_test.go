package blackbox

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aiadmin/test/logtest"
)

// cli runs the program as a client of a service.
type cli struct {
	dir string
	env []string
}

func newCLI(t testing.TB, url string) *cli {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	must(t, os.WriteFile(token, []byte(adminToken+"\n"), 0o600))
	return &cli{dir, []string{"HOME=" + dir, "AI_ADMIN_URL=" + url, "AI_ADMIN_TOKEN_FILE=" + token}}
}

// run runs a command with what comes on standard input.
func (c *cli) run(t testing.TB, input string, args ...string) (code int, out, errs string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, args...)
	var stdout, stderr bytes.Buffer
	command.Dir, command.Env, command.Stdin, command.Stdout, command.Stderr = c.dir, c.env, strings.NewReader(input), &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// TestCommandLineIsAClient: what an operator does with users, keys and the audit log, and how each call exits.
func TestCommandLineIsAClient(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	c := newCLI(t, s.url)
	file := filepath.Join(c.dir, "people.csv")
	must(t, os.WriteFile(file, []byte("tag,name,metadata.team\r\nada,Ada,a\r\nbob,Bob,b\r\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(c.dir, "empty"), []byte("\n"), 0o600))
	var keyID string
	for i, step := range []struct {
		args       string
		code       int
		out, errs  string
		then       func(out string)
		inputLines string
	}{
		{args: "users import people.csv --dry-run", errs: "2 created, 0 updated"},
		{args: "users import people.csv", errs: "2 created, 0 updated, 0 unchanged, 0 deleted, 0 failed"},
		{args: "users import people.csv", code: 1, out: "line 2: a user with this tag exists (DUPLICATE_TAG)", errs: "2 lines failed"},
		{args: "users import - --mode upsert", inputLines: `{"tag":"ada","name":"Ada L."}`, errs: "0 created, 1 updated"},
		{args: "users import - --dry-run", inputLines: "\ufefftag,name\ndee,Dee\n", errs: "1 created"},
		{args: "users import - --format xml", code: 2, errs: `--format must be one of "ndjson","csv",""`},
		{args: "users import - -o ndjson", inputLines: `{"tag":"cy","name":""}`, code: 1, out: `{"line":1,"status":400,"problem":{`},
		{args: "users list sort=tag", out: "ada"},
		{args: "users list sort=tag --limit 1", errs: "There are more"},
		{args: "users list sort=tag page=1 --limit 600", out: "ada"},
		{args: "users list rolle=x", code: 1, errs: "rolle: is not a parameter of this listing"},
		{args: "users get ada -o json", out: `"name": "Ada L."`},
		{args: "users get nobody", code: 1, errs: "no such user (NOT_FOUND)"},
		{args: "users suspend ada", out: "suspended"},
		{args: "users activate ada -o ndjson", out: `"status":"active"`},
		{args: "users list status=active -o csv --all", then: func(out string) {
			if rows, err := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil || len(rows) != 3 || rows[0][1] != "tag" {
				t.Errorf("%v, %v", rows, err)
			}
		}},
		{args: "users export --out users.csv", errs: "2 users"},
		{args: "users export tag=bob", out: `{"end":{"users":1,`, errs: "1 user\n"},
		{args: "keys create ada --name laptop -o json", out: `"secret": "aik_`, then: func(out string) {
			var key struct{ ID string }
			must(t, json.Unmarshal([]byte(out), &key))
			keyID = key.ID
		}},
		{args: "keys list ada", out: "laptop"},
		{args: "keys disable ada KEY", out: "disabled"},
		{args: "keys enable ada KEY", out: "active"},
		{args: "keys rotate ada KEY --overlap 1h", out: "aik_", errs: "the former secret works until"},
		{args: "keys find status=active", out: "laptop"},
		{args: "keys revoke ada", code: 2, errs: "--all"},
		{args: "keys revoke ada .. --yes", code: 2, errs: "<key>"}, // a proxy would make it the user's own path
		{args: "keys disable ada laptop", code: 2, errs: "<key>"},
		{args: "keys revoke ada KEY", code: 2, errs: "--yes"},
		{args: "keys revoke ada KEY --yes", out: "revoked key"},
		{args: "users delete bob", code: 2, errs: "--yes"},
		{args: "users delete bob", inputLines: "n\n", code: 1, errs: "Delete bob (Bob, "},
		{args: "users get bob", out: "Bob"},
		{args: "users delete bob", inputLines: "y\n", out: "deleted"},
		{args: "users delete bob --yes", code: 1, errs: "NOT_FOUND"},
		{args: "keys revoke ada --all --yes -o json", out: `"revoked": 0`},
		{args: "audit export -o csv", code: 2, errs: "ndjson alone"},
		{args: "audit export --out audit.csv", code: 2, errs: "ndjson alone"},
		{args: "users export -o json", code: 2, errs: "an export is ndjson or csv"},
		{args: "users export --out again.csv -o ndjson", errs: "1 user\n"}, // its name comes first
		{args: "users export tag=ada -o csv", out: "id,tag,name,"},
		{args: "users export format=csv", code: 2, errs: "format=csv: is not a condition"},
		{args: "users list limit=3", code: 2, errs: "limit=3: is not a condition; see --help"},
		{args: "users list tag", code: 2, errs: `"tag": must be a condition`},
		{args: "users import people.csv -o csv", code: 2, errs: "table or ndjson"},
		{args: "users import .", code: 2, errs: "is a folder"},
		{args: "audit list", out: "key.revoked"},
		{args: "audit list action=users.exported -o ndjson", out: `"filters":"tag"`},
		{args: "audit history field=status", out: "ai.admin.user.updated"},
		{args: "audit export --out audit.ndjson", errs: "entries"},
		{args: "users list --url nowhere", code: 2, errs: "--url: must be an address"},
		{args: "users list --url http://x?y", code: 2, errs: "--url: must be an address"},
		{args: "users list --url http://x#y", code: 2, errs: "--url: must be an address"},
		{args: "users list --token-file missing", code: 2, errs: "--token-file"},
		{args: "users list --token-file empty", code: 2, errs: "--token-file: empty: must hold a token"},
		{args: "users list --token-file people.csv", code: 2, errs: "--token-file: people.csv: must hold a token"},
		{args: "users list --profile other", code: 2, errs: "profiles.yaml"},
		{args: "users list -o xml", code: 2, errs: "--output"},
		{args: "completion bash", out: "'users import --mode') echo 'create update upsert delete' ;;"},
		{args: "completion zsh", out: "#compdef ai-admin"},
		{args: "completion fish", out: "-l mode -x -a 'create update upsert delete'"},
		{args: "completion tcsh", code: 2, errs: "tcsh"},
	} {
		code, out, errs := c.run(t, step.inputLines, strings.Fields(strings.ReplaceAll(step.args, "KEY", keyID))...)
		if code != step.code || !strings.Contains(out, step.out) || !strings.Contains(errs, step.errs) {
			t.Errorf("%d: %s exited with %d, want %d\n%s%s", i, step.args, code, step.code, out, errs)
		}
		if step.then != nil {
			step.then(out)
		}
	}
	for _, name := range []string{"users.csv", "again.csv"} {
		exported, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil || !bytes.HasPrefix(exported, []byte("id,tag,name,")) {
			t.Errorf("%s: %v, %s", name, err, exported)
		}
	}
}

// TestProfilesNameServices: a profile wins over the environment, but not over flags; the default one wins over neither.
func TestProfilesNameServices(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	named := func(name string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Store(name + " " + r.Header.Get("Authorization"))
			_, _ = w.Write([]byte(`{"users":[],"page":{"next":null}}`))
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	environment := named("environment")
	c := newCLI(t, environment)
	folder := filepath.Join(c.dir, ".config", "ai-admin")
	must(t, os.MkdirAll(folder, 0o700))
	must(t, os.WriteFile(filepath.Join(c.dir, "other"), []byte("t2"), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "profiles.yaml"), fmt.Appendf(nil, "default: test\nprofiles:\n  test: {url: %q, tokenFile: %q}\n  prod: {url: %q, tokenFile: %q}\n",
		named("test"), c.dir+"/other", named("prod"), c.dir+"/other"), 0o600))
	bare := &cli{c.dir, []string{"HOME=" + c.dir}}
	for _, step := range []struct {
		c    *cli
		args []string
		want string
	}{
		{c, nil, "environment Bearer " + adminToken},
		{c, []string{"--profile", "prod"}, "prod Bearer t2"},
		{c, []string{"--profile", "prod", "--url", named("flag")}, "flag Bearer t2"},
		{c, []string{"--profile", "prod", "--url", environment, "--token-file", c.dir + "/token"}, "environment Bearer " + adminToken}, // as the environment has them
		{bare, nil, "test Bearer t2"},
	} {
		if code, out, errs := step.c.run(t, "", append([]string{"users", "list"}, step.args...)...); code != 0 || asked.Load() != step.want {
			t.Errorf("%v: asked %v, want %s; exited with %d\n%s%s", step.args, asked.Load(), step.want, code, out, errs)
		}
	}
}

// TestTornAnswersExitWith3: an export without its end leaves no file, and an import says how to go on.
func TestTornAnswersExitWith3(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent"+usersPath+"/import" {
			panic(http.ErrAbortHandler)
		}
		if status, err := strconv.Atoi(strings.Split(r.URL.Path, "/")[1]); err == nil { // of a proxy in between
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		_, _ = w.Write([]byte("{\"id\":\"1\"}\n"))
		if strings.HasPrefix(r.Header.Get("Accept"), "text/csv") {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	c := newCLI(t, server.URL)
	for _, step := range []struct{ args, errs string }{
		{"users export --out whole.ndjson", "the export broke off: its end is missing"},
		{"users export --out whole.csv", "the export broke off"},
		{"users import -", "send the file again with --key"},
		{"users import - --url " + server.URL + "/silent", "Send the file again with --key"},
		{"users import - --url " + server.URL + "/504", "Send the file again with --key"},
		{"users import - --url " + server.URL + "/408", "Send the file again with --key"},
	} {
		if code, _, errs := c.run(t, "{}", strings.Fields(step.args)...); code != 3 || !strings.Contains(errs, step.errs) {
			t.Errorf("%s exited with %d: %s", step.args, code, errs)
		}
	}
	if code, _, errs := c.run(t, "{}", "users", "import", "-", "--url", server.URL+"/401"); code != 1 || strings.Contains(errs, "--key") {
		t.Errorf("a refusal exited with %d: %s", code, errs)
	}
	if files, _ := filepath.Glob(filepath.Join(c.dir, "whole*")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

// TestSlowImport: progress before the first line is not taken for a line that failed.
func TestSlowImport(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = w.Write([]byte(`{"progress":{"lines":0,"bytes":0}}
{"line":1,"status":201,"id":"1"}
{"summary":{"created":1,"updated":0,"unchanged":0,"deleted":0,"failed":0}}
`))
	}))
	t.Cleanup(server.Close)
	c := newCLI(t, server.URL)
	if code, out, errs := c.run(t, "{}", "users", "import", "-", "-o", "ndjson"); code != 0 || strings.Contains(out, "progress") || !strings.Contains(out, `"line":1`) {
		t.Errorf("exited with %d: %s%s", code, out, errs)
	}
}

// TestOthersAnswers: no command takes the 200 of another server, such as a sign-in page, for success.
func TestOthersAnswers(t *testing.T) {
	t.Parallel()
	const key = "01936f3e-7c1a-7b60-9d3e-1f2a3b4c5d6e"
	for _, body := range []string{"<html>sign in</html>", "", "{}", `{"status":"ok"}`, "[]"} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		t.Cleanup(other.Close)
		c := newCLI(t, other.URL)
		for _, args := range []string{"users list", "users get ada", "users get ada -o json", "users suspend ada", "users activate ada -o ndjson", "users delete ada --yes",
			"keys list ada", "keys find", "keys create ada --name x", "keys create ada --name x -o json", "keys rotate ada " + key, "keys disable ada " + key,
			"keys revoke ada " + key + " --yes", "keys revoke ada " + key + " --yes -o json", "keys revoke ada --all --yes", "keys revoke ada --all --yes -o csv", "audit list", "audit history",
			"users export", "users export -o csv", "users export --out page.csv", "audit export", "users import -"} {
			if code, out, errs := c.run(t, "", strings.Fields(args)...); code != 1 || out != "" || !strings.Contains(errs, "not an answer of ai-admin: check --url") {
				t.Errorf("%s, answered %q: %d, %q, %q", args, body, code, out, errs)
			}
		}
	}
}

// TestRedirectsAreNotFollowed: a change that is redirected is not taken for done.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.url+r.URL.String(), http.StatusMovedPermanently)
	}))
	t.Cleanup(moved.Close)
	c := newCLI(t, s.url)
	if code, _, errs := c.run(t, `{"tag":"ada","name":"Ada"}`, "users", "import", "-"); code != 0 {
		t.Fatal(errs)
	}
	for _, args := range []string{"users suspend ada", "users get ada", "users export", "users import -"} {
		code, out, errs := c.run(t, "{}", append(strings.Fields(args), "--url", moved.URL)...)
		if code != 1 || out != "" || !strings.Contains(errs, "301 Moved Permanently to "+s.url+usersPath) || !strings.Contains(errs, "check --url") {
			t.Errorf("%s: %d, %q, %q", args, code, out, errs)
		}
	}
}

// TestCtrlC: a question ends without an answer, and an export without a file.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "{}\n")
		}
	}))
	t.Cleanup(endless.Close)
	for _, test := range []struct {
		args, begun string // a file that is there, or what is said, once it is at work
		code        int
		errs        string
	}{
		{"keys revoke ada --all", "[y/N]", 1, "nothing was done"},
		{"users export --out whole.ndjson", "whole.ndjson.part-", 3, "the export broke off"},
	} {
		c := newCLI(t, endless.URL)
		command := exec.CommandContext(t.Context(), binary, strings.Fields(test.args)...)
		var errs logtest.Buffer
		command.Dir, command.Env, command.Stderr = c.dir, c.env, &errs
		input, err := command.StdinPipe() // stays open: a terminal would
		must(t, err)
		must(t, command.Start())
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			files, _ := filepath.Glob(filepath.Join(c.dir, "whole*"))
			if strings.Contains(errs.String()+strings.Join(files, " "), test.begun) {
				break
			}
		}
		must(t, command.Process.Signal(os.Interrupt))
		late := time.AfterFunc(30*time.Second, func() { _ = command.Process.Kill() })
		_ = command.Wait()
		late.Stop()
		_ = input.Close()
		files, _ := filepath.Glob(filepath.Join(c.dir, "whole*"))
		if code := command.ProcessState.ExitCode(); code != test.code || !strings.Contains(errs.String(), test.errs) || len(files) > 0 {
			t.Errorf("%s exited with %d and left %v: %s", test.args, code, files, errs.String())
		}
	}
}

// TestNobodyListens: what was never asked is refused, not torn.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	c := newCLI(t, fmt.Sprintf("http://127.0.0.1:%d", freePort(t)))
	if code, _, errs := c.run(t, "{}", "users", "import", "-"); code != 1 || strings.Contains(errs, "--key") {
		t.Errorf("exited with %d: %s", code, errs)
	}
}
