package main

import (
	"fmt"
	"math/rand"
	"strings"

	"github.com/google/uuid"
	"github.com/jaswdr/faker"
)

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
