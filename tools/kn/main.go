// Command kn is Knative's client, whose own main module is not published as one that can
// be fetched; its commands are.
package main

import (
	"fmt"
	"os"

	"knative.dev/client/pkg/root"
)

func main() {
	command, err := root.NewRootCommand(nil)
	if err == nil {
		err = command.Execute()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kn:", err)
		os.Exit(1)
	}
}
