package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/jaswdr/faker"
)

// fillDemo imports users 1 to n. Each number always makes the same user with the same id, so that another run
// adds only what is missing; a user that was changed since is left alone.
func (d devService) fillDemo(ctx context.Context, s streams, n int) error {
	progress := bar(s, int64(n), "Demo users", false)
	lines, file := io.Pipe()
	go func() {
		var err error
		users := jsontext.NewEncoder(file) // ends each with a newline
		for i := 1; i <= n && err == nil; i++ {
			err = json.MarshalEncode(users, demoUser(i))
			_ = progress.Add(1)
		}
		_ = file.CloseWithError(err)
	}()
	answer, err := d.send(ctx, http.MethodPost, "/ai/admin/users/import?results=failed", lines, "Content-Type", mediaTypes["ndjson"])
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	results := jsontext.NewDecoder(answer.Body)
	for there := 0; ; {
		var result importResult
		if err := json.UnmarshalDecode(results, &result); err != nil {
			return fmt.Errorf("the import of demo users broke off: %w", err)
		}
		switch {
		case result.Summary != nil && result.Summary["doneThrough"] != nil:
			return errors.New(problemText(result.Summary["problem"], "the import of demo users stopped"))
		case result.Summary != nil:
			_ = progress.Finish()
			fmt.Fprintf(s.out, "Demo users: %s made, %d were there.\n", result.Summary["created"], there)
			return nil
		case result.Status == http.StatusConflict:
			there++
		case result.Progress == nil:
			return fmt.Errorf("demo user %d: %s", result.Line, problemText(result.Problem, "failed"))
		}
	}
}

// demoUser is the i-th plausible user: a body of POST.
func demoUser(i int) map[string]any {
	source := rand.NewSource(int64(i)) // of the first version of math/rand, as the library takes it
	r, fake := rand.New(source), faker.NewWithSeed(source)
	first, last := fake.Person().FirstName(), fake.Person().LastName()
	tag := fmt.Sprintf("%s.%s-%d", slug(first), slug(last), i)
	user := map[string]any{
		"id": uuid.Must(uuid.NewRandomFromReader(r)).String(), "tag": tag, "name": first + " " + last,
		"role":     pick(r, "member", "member", "member", "member", "viewer", "viewer", "admin", "service"),
		"status":   pick(r, "active", "active", "active", "active", "active", "suspended"),
		"metadata": map[string]any{"team": pick(r, "billing", "design", "legal", "platform", "research", "sales"), "title": fake.Company().JobTitle(), "city": fake.Address().City()},
		"limits":   map[string]any{"requestsPerMinute": 10 * (1 + r.Intn(60)), "monthlyBudgetUSD": 5 * (1 + r.Intn(200))},
	}
	if r.Intn(10) > 0 {
		user["email"] = tag + "@example.com"
	}
	if r.Intn(2) > 0 {
		user["externalId"] = fmt.Sprintf("idp|%08d", i)
	}
	if r.Intn(3) > 0 {
		user["models"] = pick(r, []string{"gpt-5*"}, []string{"claude-*", "gpt-5-mini"}, []string{"llama-4-*"}, []string{})
	}
	if r.Intn(3) == 0 {
		user["credentials"] = map[string]any{pick(r, "openai", "anthropic", "mistral"): fmt.Sprintf("sk-demo-%024x", r.Uint64())}
	}
	return user
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.Intn(len(choices))] }

// slug keeps of a name what a tag may hold.
func slug(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}
