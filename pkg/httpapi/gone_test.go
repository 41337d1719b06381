package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"aiadmin/pkg/user"
)

// conversation is one request on its way: its connection, and the context that it is served by.
func conversation(t *testing.T, get func(context.Context) (*user.User, error)) *net.TCPConn {
	t.Helper()
	api, _ := service(t, fake{get: get}, nil)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write([]byte("GET " + onePath + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer planted-token\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// TestWorkForAClientThatLeftEnds: nobody waits for it.
func TestWorkForAClientThatLeftEnds(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}), make(chan error, 1)
	conn := conversation(t, func(ctx context.Context) (*user.User, error) {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	<-entered
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it goes on")
	}
}
