package packaging_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// nodeTools installs tools/clients/package.json into .cache/clients, once, and returns the folder of its
// commands; why is the reason when it cannot be had.
var nodeTools = sync.OnceValues(func() (bin, why string) {
	const dir = "../../.cache/clients"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err.Error()
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("../../tools/clients", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			return "", err.Error()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return "", "npm ci: " + err.Error() + " " + string(out[:min(len(out), 200)])
	}
	bin, err := filepath.Abs(filepath.Join(dir, "node_modules", ".bin"))
	if err != nil {
		return "", err.Error()
	}
	return bin, ""
})

func needNodeTools(t *testing.T) string {
	t.Helper()
	bin, why := nodeTools()
	if why != "" {
		t.Skip("linters and generators of npm cannot be had here: " + why)
	}
	return bin
}

// TestOpenAPILints expects no finding of either linter, hints included.
func TestOpenAPILints(t *testing.T) {
	t.Parallel()
	bin, document := needNodeTools(t), filepath.Join(root(t), "pkg/httpapi/openapi.yaml")
	tools := filepath.Join(root(t), "tools/clients")
	run(t, tools, nil, filepath.Join(bin, "spectral"), "lint", "--fail-severity", "hint", "--ruleset", "spectral.yaml", document)
	run(t, tools, []string{"REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true"},
		filepath.Join(bin, "redocly"), "lint", "--max-problems", "1000", "--config", "redocly.yaml", document)
}

// typeScriptClients are programs that create, find and update a user, each by what a generator makes of openapi.yaml.
var typeScriptClients = map[string]struct {
	generate []string // the command, with the document in the place of "openapi.yaml"
	kind     string   // of the package
	compile  []string // more arguments of the compiler
	program  string
}{
	"openapi-typescript": {[]string{"openapi-typescript", "openapi.yaml", "-o", "api.ts"}, "module", []string{"--module", "es2022", "--moduleResolution", "bundler"}, `import createClient from "openapi-fetch";
import type { paths } from "./api";

declare const process: { env: Record<string, string> };

function check(ok: unknown, answer: { response: Response; error?: unknown }): asserts ok {
  if (!ok) throw new Error(answer.response.status + " " + JSON.stringify(answer.error));
}

const client = createClient<paths>({
  baseUrl: process.env.URL,
  headers: { Authorization: "Bearer " + process.env.TOKEN },
  querySerializer: { object: { style: "form", explode: true } },
});
const created = await client.POST("/ai/admin/users", { body: { tag: "ada", name: "Ada", metadata: { team: "research" } } });
check(created.data, created);
for (const [team, count] of [["research", 1], ["sales", 0]] as const) {
  const listed = await client.GET("/ai/admin/users", { params: { query: { tag: ["ADA"], metadataFilters: { "metadata.team": team } } } });
  check(typeof listed.data === "object" && listed.data.users.length === count, listed);
}
const updated = await client.PUT("/ai/admin/users/{UserID}", { params: { path: { UserID: created.data.id } }, body: { name: "Ada Lovelace" } });
check(updated.data?.name === "Ada Lovelace" && updated.data.version === 2, updated);
`},
	"hey-api": {[]string{"openapi-ts", "--silent", "-i", "openapi.yaml", "-o", "api", "-c", "@hey-api/client-fetch"}, "commonjs", []string{"--module", "commonjs", "--moduleResolution", "node10"}, `import { createUser, listUsers, updateUser } from "./api";
import { client } from "./api/client.gen";

declare const process: { env: Record<string, string>; exitCode: number };

function check(ok: unknown, answer: { response?: Response; error?: unknown }): asserts ok {
  if (!ok) throw new Error(answer.response?.status + " " + JSON.stringify(answer.error));
}

async function main() {
  client.setConfig({ baseUrl: process.env.URL, auth: process.env.TOKEN });
  const created = await createUser({ body: { tag: "ada", name: "Ada", metadata: { team: "research" } } });
  check(created.data, created);
  for (const [team, count] of [["research", 1], ["sales", 0]] as const) {
    const listed = await listUsers({ query: { tag: ["ADA"], metadataFilters: { "metadata.team": team } } });
    check(typeof listed.data === "object" && listed.data.users.length === count, listed);
  }
  const updated = await updateUser({ path: { UserID: created.data.id }, body: { name: "Ada Lovelace" } });
  check(updated.data?.name === "Ada Lovelace" && updated.data.version === 2, updated);
}
main().catch((error) => { console.error(error); process.exitCode = 1; });
`},
}

// TestTypeScriptClients has generators read openapi.yaml, compiles a client with what they make, and uses it.
func TestTypeScriptClients(t *testing.T) {
	t.Parallel()
	for name, client := range typeScriptClients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin, dir := needNodeTools(t), t.TempDir()
			for name, text := range map[string]string{"client.ts": client.program, "package.json": `{"type":"` + client.kind + `"}`} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(filepath.Dir(bin), filepath.Join(dir, "node_modules")); err != nil {
				t.Fatal(err)
			}
			arguments := slices.Clone(client.generate)
			arguments[slices.Index(arguments, "openapi.yaml")] = filepath.Join(root(t), "pkg/httpapi/openapi.yaml")
			run(t, dir, nil, filepath.Join(bin, arguments[0]), arguments[1:]...)
			run(t, dir, nil, filepath.Join(bin, "tsc"), append(client.compile, "--strict", "--target", "es2022", "--skipLibCheck", "client.ts")...)
			_, address := serve(t, mounts(t, pgtest.Database(t), "metricsPort: 0"))
			run(t, dir, []string{"URL=http://" + address, "TOKEN=" + token}, "node", "client.js")
		})
	}
}
