package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/brianvoe/gofakeit/v7"
	"golang.org/x/sync/errgroup"
)

const demoWorkers = 8

// fillDemo creates users 1 to n over HTTP, as any client would. Each number always makes
// the same user with the same id, so that another run adds only what is missing.
func fillDemo(ctx context.Context, out io.Writer, d devService, n int) error {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: demoWorkers}}
	defer client.CloseIdleConnections()
	var done, made atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for i := 1; i <= n; i++ {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range demoWorkers {
		group.Go(func() error {
			for i := range next {
				created, err := d.create(ctx, client, demoUser(i))
				if err != nil {
					return fmt.Errorf("demo user %d: %w", i, err)
				}
				if created {
					made.Add(1)
				}
				if at := done.Add(1); at%5000 == 0 {
					fmt.Fprintf(out, "Demo users: %d of %d…\n", at, n)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	if err == nil {
		fmt.Fprintf(out, "Demo users: %d made, %d were there.\n", made.Load(), int64(n)-made.Load())
	}
	return err
}

// create posts one user; one that is there already, or was changed since, is left alone.
func (d devService) create(ctx context.Context, client *http.Client, user map[string]any) (created bool, err error) {
	body, err := json.Marshal(user)
	if err != nil {
		return false, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/ai/admin/users", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Authorization", "Bearer "+d.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body) // to its end, so that the connection is used again
	switch answer.StatusCode {
	case http.StatusCreated:
		return true, err
	case http.StatusConflict:
		return false, err
	}
	return false, fmt.Errorf("%s: %s", answer.Status, text)
}

// demoUser is the i-th plausible user: a body of POST.
func demoUser(i int) map[string]any {
	fake := gofakeit.New(uint64(i))
	first, last := fake.FirstName(), fake.LastName()
	tag := fmt.Sprintf("%s.%s-%d", slug(first), slug(last), i)
	user := map[string]any{
		"id": fake.UUID(), "tag": tag, "name": first + " " + last,
		"role":     pick(fake, "member", "member", "member", "member", "viewer", "viewer", "admin", "service"),
		"status":   pick(fake, "active", "active", "active", "active", "active", "suspended"),
		"metadata": map[string]any{"team": slug(fake.JobDescriptor()), "title": fake.JobTitle(), "city": fake.City()},
		"limits":   map[string]any{"requestsPerMinute": 10 * fake.IntRange(1, 60), "monthlyBudgetUSD": 5 * fake.IntRange(1, 200)},
	}
	if fake.IntRange(1, 10) > 1 {
		user["email"] = tag + "@example.com"
	}
	if fake.Bool() {
		user["externalId"] = fmt.Sprintf("idp|%08d", i)
	}
	if fake.IntRange(1, 3) > 1 {
		user["models"] = pick(fake, []string{"gpt-5*"}, []string{"claude-*", "gpt-5-mini"}, []string{"llama-4-*"}, []string{})
	}
	if fake.IntRange(1, 3) == 1 {
		user["credentials"] = map[string]any{
			pick(fake, "openai", "anthropic", "mistral"): "sk-demo-" + fake.LetterN(24)}
	}
	return user
}

func pick[T any](fake *gofakeit.Faker, choices ...T) T {
	return choices[fake.IntRange(0, len(choices)-1)]
}

// slug keeps of a name what a tag may hold.
func slug(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}
