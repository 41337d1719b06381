package scimapi_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// TestScaleImport makes 10,000 users by POST, as a provider's first cycle does, and puts them into one group
// by PATCHes of 100.
func TestScaleImport(t *testing.T) {
	if os.Getenv("SCALE_USERS") == "" {
		t.Skip("set SCALE_USERS to measure")
	}
	s := start(t)
	const users, portion, workers = 10_000, 100, 16
	ids := make([]string, users)
	begun := time.Now()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < users; i += workers {
				ids[i] = s.user(t, fmt.Sprintf("user%d@example.com", i), `"name":{"givenName":"Ann","familyName":"Smith"}`, fmt.Sprintf(`"externalId":"e%d"`, i),
					fmt.Sprintf(`"emails":[{"value":"user%d@example.com","type":"work","primary":true}]`, i), `"`+enterpriseURN+`":{"department":"R&D"}`)
			}
		})
	}
	all.Wait()
	fmt.Printf("first import: %d users in %v by %d connections\n", users, time.Since(begun).Round(time.Millisecond), workers)
	g := s.group(t, "All")
	begun = time.Now()
	for i := 0; i < users; i += portion {
		values := ""
		for _, id := range ids[i : i+portion] {
			values += `,{"value":"` + id + `"}`
		}
		s.ask(t, "PATCH", "/Groups/"+g, patchBody(`{"op":"Add","path":"members","value":[`+values[1:]+`]}`)).is(t, 204)
	}
	fmt.Printf("group: %d members by PATCHes of %d in %v\n", users, portion, time.Since(begun).Round(time.Millisecond))
	begun = time.Now()
	s.ask(t, "GET", "/Groups/"+g, "").is(t, 200)
	fmt.Printf("the group with its members in %v\n", time.Since(begun).Round(time.Millisecond))
}
