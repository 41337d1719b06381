package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"aiadmin/pkg/apt"
)

// ensureCompiler makes sure that cgo can build, as the race detector needs: a fresh
// machine has neither a C compiler nor the C library's headers.
func ensureCompiler(ctx context.Context) error {
	if compiles(ctx) {
		return nil
	}
	err := apt.Install(ctx, os.Stderr, "gcc", "libc6-dev")
	if err == nil && !compiles(ctx) {
		err = errors.New("the installed compiler does not work")
	}
	if err != nil {
		return fmt.Errorf("the race detector needs a C compiler: install gcc or clang with the C library's headers "+
			"(Debian, Ubuntu: sudo apt-get install gcc libc6-dev; macOS: xcode-select --install): %w", err)
	}
	return nil
}

// compiles tries a program that needs what Go's runtime/cgo needs.
func compiles(ctx context.Context) bool {
	for _, compiler := range []string{os.Getenv("CC"), "gcc", "clang"} {
		if compiler == "" {
			continue
		}
		cmd := exec.CommandContext(ctx, compiler, "-x", "c", "-fsyntax-only", "-")
		cmd.Stdin = strings.NewReader("#include <pthread.h>\n#include <stdlib.h>\n")
		if cmd.Run() == nil {
			return true
		}
	}
	return false
}
