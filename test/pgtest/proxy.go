package pgtest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy passes TCP connections on to a server until it falls silent: it then keeps all connections,
// accepts new ones, and passes nothing on.
type Proxy struct {
	Addr   string // host:port
	target string

	mu     sync.Mutex
	silent bool
	woken  chan struct{} // closed by Speak
	conns  []net.Conn
}

// NewProxy makes a proxy to the server of a connection URL, which ends with the test.
func NewProxy(t testing.TB, connString string) *Proxy {
	t.Helper()
	target, err := url.Parse(connString)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String(), target: target.Host, woken: make(chan struct{})}
	close(p.woken)
	var passing sync.WaitGroup
	passing.Go(func() { p.accept(listener, &passing) })
	t.Cleanup(func() {
		_ = listener.Close()
		p.Speak()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		passing.Wait()
	})
	return p
}

// URL is a connection URL with the proxy in the server's place.
func (p *Proxy) URL(connString string) string {
	through, err := url.Parse(connString)
	if err != nil {
		panic(err) // the cluster's own URL
	}
	through.Host = p.Addr
	return through.String()
}

// Silence makes the proxy pass nothing on.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.silent {
		p.silent, p.woken = true, make(chan struct{})
	}
}

// Speak makes the proxy pass on again, what it held back included.
func (p *Proxy) Speak() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent {
		p.silent = false
		close(p.woken)
	}
}

func (p *Proxy) accept(listener net.Listener, passing *sync.WaitGroup) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.keep(client)
		passing.Go(func() {
			p.wait()
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				_ = client.Close()
				return
			}
			p.keep(server)
			passing.Go(func() { p.pass(client, server) })
			p.pass(server, client)
		})
	}
}

func (p *Proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
}

func (p *Proxy) wait() {
	p.mu.Lock()
	woken := p.woken
	p.mu.Unlock()
	<-woken
}

func (p *Proxy) pass(to io.WriteCloser, from io.Reader) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.wait()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
