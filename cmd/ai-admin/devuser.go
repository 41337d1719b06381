package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"
)

// The demo users' parts. A library of fakes fills maps of several hundred kilobytes when
// the process starts: `serve` would wait for what it never uses.
var (
	firstNames = strings.Fields(`Ada Alan Alonzo Amina Anita Barbara Bjarne Carol Chen Claude Dana Donald Edsger Edith Emmy Erna
		Frances Grace Hedy Hiroshi Ibrahim Ines Jean John Joan Karen Katherine Kwame Leslie Lin Lynn Margaret Mary Mei
		Miguel Niklaus Noor Olga Omar Peter Priya Radia Rosa Rozsa Ruth Sanjay Shafi Sofia Stephanie Tim Tony Yuki`)
	lastNames = strings.Fields(`Allen Almeida Backus Bartik Berg Borg Chen Church Clarke Conway Curry Diaz Dijkstra Easley Engel
		Fischer Floyd Garcia Goldberg Haddad Hamilton Hoare Holberton Hopper Ito Jansen Johnson Kim Knuth Kowalski Lamarr Lamport
		Liskov Lovelace Milner Moreau Nakamura Naur Noether Okafor Patel Perlman Peter Ritchie Rossi Santos Shannon Silva
		Snyder Tanaka Turing Vaughan Wilkes Wirth Yamada Zhang`)
	teams  = strings.Fields("billing design finance infrastructure legal marketing operations platform research sales security support")
	titles = []string{"Account Manager", "Analyst", "Architect", "Consultant", "Data Scientist", "Designer", "Developer",
		"Engineer", "Product Owner", "Researcher", "Team Lead", "Technician", "Translator", "Writer"}
	cities = []string{"Accra", "Bangalore", "Berlin", "Bogotá", "Cape Town", "Dublin", "Hanoi", "Kraków", "Lisbon", "Lyon", "Montréal",
		"Nairobi", "Osaka", "Oslo", "Porto", "Seoul", "São Paulo", "Toronto", "Utrecht", "Wellington"}
)

// demoUser is the i-th plausible user: a body of POST.
func demoUser(i int) map[string]any {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(i))
	source := rand.NewChaCha8(seed)
	r := rand.New(source)
	first, last := pick(r, firstNames...), pick(r, lastNames...)
	tag := fmt.Sprintf("%s.%s-%d", strings.ToLower(first), strings.ToLower(last), i)
	user := map[string]any{
		"id": uuid.Must(uuid.NewRandomFromReader(source)).String(), "tag": tag, "name": first + " " + last,
		"role":     pick(r, "member", "member", "member", "member", "viewer", "viewer", "admin", "service"),
		"status":   pick(r, "active", "active", "active", "active", "active", "suspended"),
		"metadata": map[string]any{"team": pick(r, teams...), "title": pick(r, titles...), "city": pick(r, cities...)},
		"limits":   map[string]any{"requestsPerMinute": 10 * (1 + r.IntN(60)), "monthlyBudgetUSD": 5 * (1 + r.IntN(200))},
	}
	if r.IntN(10) > 0 {
		user["email"] = tag + "@example.com"
	}
	if r.IntN(2) > 0 {
		user["externalId"] = fmt.Sprintf("idp|%08d", i)
	}
	if r.IntN(3) > 0 {
		user["models"] = pick(r, []string{"gpt-5*"}, []string{"claude-*", "gpt-5-mini"}, []string{"llama-4-*"}, []string{})
	}
	if r.IntN(3) == 0 {
		user["credentials"] = map[string]any{pick(r, "openai", "anthropic", "mistral"): fmt.Sprintf("sk-demo-%024x", r.Uint64())}
	}
	return user
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }
