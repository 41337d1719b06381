package packaging_test

import (
	"os"
	"path/filepath"
	"testing"

	"aiadmin/test/pgtest"
)

// goClient creates, finds and updates a user by the generated client.
const goClient = `package main

import (
	"context"
	"net/http"
	"os"
)

func main() {
	ctx, as := context.Background(), func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
		return nil
	}
	c, err := NewClientWithResponses(os.Getenv("URL"), WithRequestEditorFn(as))
	check(err == nil, err)
	created, err := c.CreateUserWithResponse(ctx, &CreateUserParams{}, UserCreate{Tag: "ada", Name: "Ada"})
	check(err == nil && created.JSON201 != nil, err)
	tags := []string{"ADA"}
	listed, err := c.ListUsersWithResponse(ctx, &ListUsersParams{Tag: &tags})
	check(err == nil && listed.StatusCode() == 200, err)
	renamed := "Ada Lovelace"
	updated, err := c.UpdateUserWithResponse(ctx, created.JSON201.Id.String(), &UpdateUserParams{}, UpdateUserJSONRequestBody{Name: &renamed})
	check(err == nil && updated.JSON200 != nil && updated.JSON200.Name == renamed, err)
}

func check(ok bool, err error) {
	if !ok {
		panic(err)
	}
}
`

// TestGoClient has oapi-codegen make a client from openapi.yaml, compiles it and uses it.
func TestGoClient(t *testing.T) {
	t.Parallel()
	tools := filepath.Join(root(t), "tools/clients")
	if out, err := try(t.Context(), tools, nil, "go", "mod", "download"); err != nil {
		t.Skipf("oapi-codegen cannot be had here: %s", out)
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(tools, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(goClient), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, tools, nil, "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", filepath.Join(dir, "client.go"),
		filepath.Join(root(t), "pkg/httpapi/openapi.yaml"))
	_, address := serve(t, mounts(t, pgtest.Database(t), "metricsPort: 0"))
	run(t, dir, []string{"URL=http://" + address, "TOKEN=" + token}, "go", "run", "-mod=mod", ".")
}
