// Package architecture shows by tests what docs/architecture.md says of the code's shape.
package architecture
