package config

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// textOf is a string's text, less the line end of a block. YAML 1.1's yes and on are
// text, as in YAML 1.2.
func textOf(n *yaml.Node) (string, bool) {
	return strings.TrimRight(n.Value, "\n"), n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
}

func boolean(into *bool) field {
	return func(found *problems, n *yaml.Node, path string) {
		if n.ShortTag() != "!!bool" || n.Decode(into) != nil {
			found.add(n, path, "must be true or false")
		}
	}
}

// integer reads decimal digits alone: YAML 1.1 takes 010 for eight.
func integer(into *int, least, most int) field {
	return func(found *problems, n *yaml.Node, path string) {
		number, err := strconv.Atoi(n.Value)
		if n.ShortTag() != "!!int" || err != nil || number < least || number > most {
			found.add(n, path, fmt.Sprintf("must be a whole number from %d to %d", least, most))
			return
		}
		*into = number
	}
}

// duration reads Go's durations; 0 is one too.
func duration(into *time.Duration, least, most time.Duration) field {
	return func(found *problems, n *yaml.Node, path string) {
		value, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || value < least || value > most {
			found.add(n, path, fmt.Sprintf("must be a duration from %s to %s, such as 90s, 30m or 168h", short(least), short(most)))
			return
		}
		*into = value
	}
}

// short is a duration without Go's trailing "0m0s".
func short(d time.Duration) string {
	if d > 0 && d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

func oneOf[T any](into *T, choices map[string]T) field {
	return func(found *problems, n *yaml.Node, path string) {
		name, _ := textOf(n)
		value, ok := choices[name]
		if !ok {
			found.add(n, path, "must be one of "+strings.Join(slices.Sorted(maps.Keys(choices)), ", "))
			return
		}
		*into = value
	}
}

// text reads a string that keeps a rule.
func text(into *string, keep rule) field {
	return func(found *problems, n *yaml.Node, path string) {
		written, ok := textOf(n)
		if !ok {
			found.add(n, path, "must be text: put it in quotes")
			return
		}
		kept, want := keep(written)
		if want != "" {
			found.add(n, path, want)
			return
		}
		*into = kept
	}
}

// claimValue reads what a claim must be: text, or a bare number or truth value, which a
// token holds by its JSON text. A number stays as it is spelt.
func claimValue(into *string) field {
	return func(found *problems, n *yaml.Node, path string) {
		switch n.ShortTag() {
		case "!!int", "!!float":
			*into = n.Value
		case "!!bool":
			*into = strings.ToLower(n.Value)
		default:
			text(into, nameRule)(found, n, path)
		}
	}
}
