package console

import "testing"

// TestPictures writes a picture of each page, wide and narrow.
func TestPictures(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	s.people(120)
	id := s.create(`{"tag":"ada","name":"Ada Lovelace","email":"ada@example.com","role":"admin","models":["gpt-5*","claude-*","llama-4-70b","mistral-large"],
		"limits":{"requestsPerMinute":600,"monthlyBudgetUSD":250},"credentials":{"openai":"sk-live-0123456789abcdef","anthropic":"sk-ant-0123456789abcdef"},"metadata":{"team":"research","costCenter":4711}}`)
	s.api("PATCH", "users/"+id, `{"status":"suspended","name":"Ada King"}`)
	s.api("PATCH", "users/"+id, `{"status":"active","name":"Ada Lovelace","limits":{"tokensPerMinute":90000}}`)
	p := s.person(t)
	p.open("signin")
	p.shot("signin-1280")
	p.signIn(s.token)
	for name, path := range map[string]string{"users": "users?status=active&sort=name", "empty": "users?q=nobody-here", "user": "users/" + id + "?may=gpt-5-mini", "new": "users/new", "import": "import",
		"activity": "activity", "audit": "activity?view=audit", "keys": "keys", "operation": "operation", "delete": "users/" + id + "/delete", "wrong": "users?role=king"} {
		for _, width := range []int64{1280, 360} {
			p.width(width)
			p.open(path)
			p.shot(name + "-" + map[int64]string{1280: "1280", 360: "360"}[width])
			if wide := eval[int](p, "document.documentElement.scrollWidth"); int64(wide) > width {
				t.Errorf("%s is %d pixels wide at %d", path, wide, width)
			}
		}
	}
}
