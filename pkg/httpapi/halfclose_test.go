package httpapi

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
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

// TestHalfClosedClientGetsItsAnswer: who has said all and waits is answered.
func TestHalfClosedClientGetsItsAnswer(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	conn := conversation(t, func(ctx context.Context) (*user.User, error) {
		<-closed
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond): // in which the server sees that nothing more comes
			return someone(), nil
		}
	})
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(closed)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", answer, err)
	}
	_ = answer.Body.Close()
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
