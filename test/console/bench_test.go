package console

import (
	"net/http"
	"testing"
)

// BenchmarkList compares the list of 50 users as a page with the API's answer: the page may take twice as long.
func BenchmarkList(b *testing.B) {
	s := start(b, "")
	s.people(1000)
	client := s.client(b, s.token)
	for name, path := range map[string]string{"api": "/ai/admin/users?sort=name", "page": "/ai/admin/console/users?sort=name"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				request, err := http.NewRequest(http.MethodGet, s.url+path, nil)
				if err != nil {
					b.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer "+s.token)
				request.Header.Set("Accept-Encoding", "gzip")
				if _, body := client.do(request); len(body) < 4000 {
					b.Fatal(len(body))
				}
			}
		})
	}
}
