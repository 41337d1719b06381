package mount

import "strings"

// Problems is everything wrong with one folder. Its text has a line per problem, each
// with the file's path and what is expected there, never the file's content.
type Problems struct {
	Dir string
	// Err is the parse function's error: a line per problem, each starting with the
	// file's name, or with a colon when it speaks of the folder.
	Err error
}

// Error implements error.
func (p *Problems) Error() string { return strings.Join(p.Lines(), "\n") }

// Lines is the text of Error line by line.
func (p *Problems) Lines() []string {
	lines := strings.Split(p.Err.Error(), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, ":") {
			line = "/" + line
		}
		lines[i] = p.Dir + line
	}
	return lines
}

// Unwrap gives the parse function's error.
func (p *Problems) Unwrap() error { return p.Err }
