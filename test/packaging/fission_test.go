package packaging_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"aiadmin/test/pgtest"
)

// TestFissionRouter sends what the old function's router sends: the path rewritten to
// "/", the original URL and the route's parameter in headers.
func TestFissionRouter(t *testing.T) {
	t.Parallel()
	_, address := serve(t, mounts(t, pgtest.Database(t), "metricsPort: 0\nfissionCompat: true\n"))
	c := client{t, "http://" + address}
	const full = "X-Fission-Full-Url: "
	collection := full + users
	_, created := c.want("POST", "/", `{"tag":"ada","name":"Ada"}`, 201, collection)
	id := c.field(created, "id")
	one, param := full+users+"/"+id, "X-Fission-Params-Userid: "+id

	if _, text := c.want("GET", "/?tag=ada&limit=1", "", 200, full+users+"?tag=ada&limit=1"); len(text) < len(id) {
		t.Errorf("the list is lost: %s", text)
	}
	c.want("GET", "/?nonsense=1", "", 400, full+users+"?nonsense=1")
	for _, headers := range [][]string{{one, param}, {param}, {one}} { // some versions of the router send one of them alone
		if _, text := c.want("GET", "/", "", 200, headers...); c.field(text, "id") != id {
			t.Errorf("%v: another user: %s", headers, text)
		}
	}
	c.want("PUT", "/", `{"name":"Ada L."}`, 200, one, param)
	if _, text := c.want("PUT", "/", `{"email":"?"}`, 400, one, param); c.field(text, "errorCode") != "VALIDATION_ERROR" {
		t.Errorf("today's clients read errorCode: %s", text)
	}
	c.want("GET", "/", "", 404, full+users+"/0198c0de-0000-7000-8000-000000000000", "X-Fission-Params-Userid: 0198c0de-0000-7000-8000-000000000000")
	c.want("GET", users+"/0198c0de-0000-7000-8000-000000000000", "", 404, param) // the path's own id wins
	c.want("DELETE", "/", "", 204, one, param)
	c.want("GET", "/", "", 404, one, param)

	// An event that the same router passes on stays an event.
	for _, original := range []string{full + "/", collection} {
		c.want("POST", "/", `{"tag":"bob"}`, 422, original, "ce-specversion: 1.0", "ce-id: 1", "ce-source: /hr", "ce-type: no.such.command", "Content-Type: application/json")
		c.want("POST", "/", `{"specversion":"1.0","id":"2","source":"/hr","type":"no.such.command","data":{"tag":"bob"}}`, 422,
			original, "Content-Type: application/cloudevents+json")
	}
}

// TestWithoutCompatHeadersMeanNothing holds the aid off by default: anybody can send them.
func TestWithoutCompatHeadersMeanNothing(t *testing.T) {
	t.Parallel()
	_, address := serve(t, mounts(t, pgtest.Database(t), "metricsPort: 0\n"))
	c := client{t, "http://" + address}
	_, created := c.want("POST", users, `{"tag":"ada","name":"Ada"}`, 201)
	answer, text, err := c.send("GET", "/", "", "X-Fission-Params-Userid: "+c.field(created, "id"))
	if err != nil || answer.StatusCode < 404 || answer.StatusCode > 405 { // POST / takes events
		t.Errorf("the header is followed: %v %.200s", err, text)
	}
}

// TestOldCiphertextsMove does what docs/migrating-from-fission.md says to do with a
// credential: a placeholder by the API, the old ciphertext by SQL, and rotate at the end.
func TestOldCiphertextsMove(t *testing.T) {
	t.Parallel()
	const pynacl = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZX3b92DqdlF3kg9IOhp7/UpDl8eBVTJ94HBcUfosfqmUeq9O95ndzLWQ=="
	database := pgtest.Database(t)
	dir := mounts(t, database, "metricsPort: 0\n")
	_, address := serve(t, dir)
	c := client{t, "http://" + address}
	_, created := c.want("POST", users, `{"tag":"ada","name":"Ada","credentials":{"openai":"imported"}}`, 201)
	one := users + "/" + c.field(created, "id")
	moved := func() {
		t.Helper()
		if _, text := c.want("GET", one+"/credentials/openai", "", 200); c.field(text, "secret") != "sk-live-Ünïcödé-🔑" {
			t.Errorf("the old secret is lost: %s", text)
		}
	}

	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "UPDATE credentials SET sealed = $1", pynacl); err != nil {
		t.Fatal(err)
	}
	moved()
	run(t, "", nil, binary(t), "rotate", "--mounts", dir)
	if said := run(t, "", nil, binary(t), "rotate", "--mounts", dir); !strings.Contains(said, "nothing to reseal: 1 value is under the primary key k1 already") {
		t.Errorf("a second rotate says %s", said)
	}
	moved()
	if _, text := c.want("GET", one, "", 200); !strings.Contains(text, `"keyId":"k1"`) {
		t.Errorf("not under the primary key after rotate: %s", text)
	}
}
