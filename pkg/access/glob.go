package access

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Match says whether a model's name matches a glob: * stands for any characters, / included, ?
// for exactly one, and every other character for itself. Case counts. It takes at most
// len(glob) × len(model) steps, whatever the glob.
//
// The listing's filter ?model= follows the same rule; a test compares the two.
func Match(glob, model string) bool {
	retry, from := -1, 0 // after the last *, and the first character it does not cover yet
	g, m := 0, 0
	for m < len(model) {
		char := width(model[m:])
		switch {
		case g < len(glob) && glob[g] == '*':
			g++
			retry, from = g, m
		case g < len(glob) && glob[g] == '?':
			g, m = g+1, m+char
		case g < len(glob) && glob[g] == model[m]:
			g, m = g+1, m+1
		case retry >= 0:
			from += width(model[from:])
			g, m = retry, from
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}

// width is the length of the first character in bytes; a byte that is no UTF-8 counts as one.
func width(text string) int {
	if text[0] < utf8.RuneSelf {
		return 1
	}
	_, size := utf8.DecodeRuneInString(text)
	return size
}

// Models is an allow-list of names and globs. Nil allows every model, an empty list none.
type Models []string

// Allow says whether the list admits a model.
func (l Models) Allow(model string) bool {
	return l == nil || slices.ContainsFunc(l, func(glob string) bool { return Match(glob, model) })
}

// all says whether the list admits every model there may be.
func (l Models) all() bool {
	return l == nil || slices.ContainsFunc(l, func(glob string) bool { return glob != "" && strings.Trim(glob, "*") == "" })
}

// overlap says whether some model is admitted by both lists.
func (l Models) overlap(other Models) bool {
	switch {
	case l == nil:
		return other == nil || len(other) > 0
	case other == nil:
		return len(l) > 0
	}
	return slices.ContainsFunc(l, func(a string) bool {
		return slices.ContainsFunc(other, func(b string) bool { return globsOverlap(a, b) })
	})
}

// globsOverlap says whether some name matches both globs. It takes len(a) × len(b) steps, and far
// fewer when the beginnings already differ.
func globsOverlap(a, b string) bool {
	x, y := []rune(a), []rune(b)
	for len(x) > 0 && len(y) > 0 && x[0] != '*' && y[0] != '*' {
		if !sameChar(x[0], y[0]) {
			return false
		}
		x, y = x[1:], y[1:]
	}
	// row[j] says whether x[i:] and y[j:] overlap, for i from the end to the beginning.
	row := make([]bool, len(y)+1)
	for i := len(x); i >= 0; i-- {
		next := row[len(y)] // of x[i+1:] and y[j+1:]
		for j := len(y); j >= 0; j-- {
			below := row[j]
			switch {
			case i == len(x) && j == len(y):
				row[j] = true
			case i < len(x) && x[i] == '*':
				row[j] = below || j < len(y) && row[j+1]
			case j < len(y) && y[j] == '*':
				row[j] = row[j+1] || i < len(x) && below
			default:
				row[j] = i < len(x) && j < len(y) && sameChar(x[i], y[j]) && next
			}
			next = below
		}
	}
	return row[0]
}

func sameChar(a, b rune) bool { return a == b || a == '?' || b == '?' }
