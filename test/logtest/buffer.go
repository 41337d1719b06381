// Package logtest keeps what a service or a process under test logs.
package logtest

import (
	"bytes"
	"sync"
)

// Buffer is a [bytes.Buffer] that several goroutines may write and read at the same time.
// Its zero value is empty and ready to use.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns what has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
