package outbox

import (
	"os"
	"strings"
)

// tokenFile is where a SinkBinding mounts what a sink asks for as proof of who sends,
// with Eventing's authentication-oidc: without it a broker answers 401 to every event.
const tokenFile = "/oidc/token"

// readToken returns the token of a file, empty where there is none. It is read for each
// event, since Eventing renews the token within the hour: a few microseconds.
func readToken(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
