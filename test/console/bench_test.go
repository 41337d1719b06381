package console

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
)

// BenchmarkList compares the list of 50 users as a page with the API's answer: the page may take twice as long.
func BenchmarkList(b *testing.B) {
	s := start(b, "")
	s.people(1000)
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{DisableCompression: true}} // a browser's time to unpack is not the server's
	b.Cleanup(client.CloseIdleConnections)
	if _, err := client.PostForm(s.url+"/ai/admin/console/signin", url.Values{"token": {s.token}}); err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{"api": "/ai/admin/users?sort=name", "page": "/ai/admin/console/users?sort=name"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				request, err := http.NewRequest(http.MethodGet, s.url+path, nil)
				if err != nil {
					b.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer "+s.token)
				request.Header.Set("Accept-Encoding", "gzip")
				answer, err := client.Do(request)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
				if err != nil || n < 4000 {
					b.Fatal(n, err)
				}
			}
		})
	}
}
