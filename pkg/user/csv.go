package user

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Columns are the columns of users in a CSV file: their fields in the order of JSON, but each limit by
// itself (limits.tokensPerMinute) and, where asked for, members of metadata by themselves (metadata.team).
// A cell has a string as it is, nothing for an absent value, and JSON for everything else.
type Columns struct {
	names   []string
	columns []column
}

// column is one column of a CSV file.
type column struct {
	field *field
	// member is that of limits or metadata which the column has; empty is the whole field.
	member string
	// nullable says that a cell null removes the value; a string null is written "null".
	nullable bool
}

const maxColumns = 100 // of metadata

var limitNames = []string{"requestsPerMinute", "tokensPerMinute", "monthlyBudgetUSD"}

// nullableStrings are the fields whose values are strings or null.
var nullableStrings = []string{"email", "userName", "externalId", "expiresAt"}

// ExportColumns returns the columns of an export; of metadata only these members if there are any.
func ExportColumns(metadata ...string) (Columns, error) {
	var problems Problems
	for i, name := range metadata {
		switch {
		case name == "" || !validText(&Problems{}, "metadata", name):
			problems.Add("metadata", codeFormat, "must be a comma list of names, each of a member of metadata")
		case slices.Contains(metadata[:i], name):
			problems.Add("metadata", codeRepeated, "names a member twice")
		}
	}
	if len(metadata) > maxColumns {
		problems.Add("metadata", codeSize, "at most %d members can be columns", maxColumns)
	}
	var names []string
	for _, name := range Fields() {
		switch {
		case name == "limits":
			names = append(names, prefixed("limits.", limitNames)...)
		case name == "metadata" && len(metadata) > 0:
			names = append(names, prefixed("metadata.", metadata)...)
		default:
			names = append(names, name)
		}
	}
	if err := problems.Err(); err != nil {
		return Columns{}, err
	}
	return ParseColumns(names)
}

func prefixed(prefix string, names []string) (all []string) {
	for _, name := range names {
		all = append(all, prefix+name)
	}
	return all
}

// ParseColumns reads the header of a file to import. All that is wrong with it is one [Invalid] error,
// which names the columns.
func ParseColumns(header []string) (Columns, error) {
	c := Columns{names: slices.Clone(header)}
	var problems Problems
	seen := make(map[string]bool, len(header)) // a header may have a hundred thousand names
	for _, name := range header {
		parsed, ok := parseColumn(name)
		switch {
		case !ok: // before all else: a file without a header has secrets for names, which no log may show
			problems.Add(name, codeUnknown, "is not a column of users: those are the fields of a user, limits.<name> and metadata.<name>")
			checkNUL(&problems, name, name)
		case seen[name]:
			problems.Add(name, "validation_repeated_column", "is a column twice")
		}
		seen[name] = true
		c.columns = append(c.columns, parsed)
	}
	return c, problems.Err()
}

func parseColumn(name string) (column, bool) {
	if f := fieldByName[name]; f != nil && name != "limits" {
		return column{field: f, nullable: slices.Contains(nullableStrings, name)}, true
	}
	parent, member, _ := strings.Cut(name, ".")
	known := parent == "limits" && slices.Contains(limitNames, member) || parent == "metadata" && member != "" && validText(&Problems{}, "", member)
	return column{field: fieldByName[parent], member: member}, known
}

// Names returns the header.
func (c *Columns) Names() []string { return c.names }

// Record writes a user's cells over those of record, which may be nil.
func (c *Columns) Record(record []string, u *User) []string {
	record = record[:0]
	var buffer []byte
	object := map[string]jsontext.Value{}
	for i := range c.columns {
		col := &c.columns[i]
		if i == 0 || col.field != c.columns[i-1].field { // the members of one field follow each other
			buffer = col.field.encode(buffer[:0], u)
			clear(object)
			if col.member != "" {
				maps.Insert(object, Members(buffer))
			}
		}
		value := jsontext.Value(buffer)
		if col.member != "" {
			value = object[col.member]
		}
		record = append(record, cellOf(value, col.nullable))
	}
	return record
}

// cellOf writes a value as a cell.
func cellOf(value jsontext.Value, nullable bool) string {
	switch {
	case len(value) == 0 || value.Kind() == 'n':
		return ""
	case value.Kind() != '"':
		return string(value)
	case nullable:
		return quoteNull(Unquote(value))
	default:
		return Unquote(value)
	}
}

// quoteNull keeps the string null apart from the JSON null: it gets a pair of quotes, one more if it
// has some.
func quoteNull(s string) string {
	if strings.Trim(s, `"`) == "null" && strings.Count(s, `"`)%2 == 0 && strings.Index(s, "n") == strings.Count(s, `"`)/2 {
		return `"` + s + `"`
	}
	return s
}

// JSON returns the object that a record stands for, as the body of a creation has it. A record has as many
// cells as there are columns. An empty cell is an absent member.
func (c *Columns) JSON(record []string) (jsontext.Value, error) {
	body, limits, metadata := []byte{'{'}, []byte{'{'}, []byte{'{'}
	for i := range c.columns {
		col := &c.columns[i]
		if record[i] == "" {
			continue
		}
		value, err := col.value(record[i])
		switch {
		case err != nil:
			return nil, err
		case col.member == "":
			body = appendMember(body, col.field.name, value)
		case col.field.name == "limits":
			limits = appendMember(limits, col.member, value)
		default:
			metadata = appendMember(metadata, col.member, value)
		}
	}
	// One object each, wherever in the file the columns of their members are.
	if len(limits) > 1 {
		body = appendMember(body, "limits", append(limits, '}'))
	}
	if len(metadata) > 1 {
		body = appendMember(body, "metadata", append(metadata, '}'))
	}
	return append(body, '}'), nil
}

func appendMember(object []byte, name string, value jsontext.Value) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	return append(append(appendString(object, name), ':'), value...)
}

// value returns what a cell that is not empty stands for. A cell of a list, an object or a number is JSON.
func (c *column) value(cell string) (jsontext.Value, error) {
	if !utf8.ValidString(cell) {
		return nil, Errorf(Malformed, "the column %s is not valid UTF-8", c.name())
	}
	switch {
	case c.nullable && cell == "null":
		return jsontext.Value("null"), nil
	case c.nullable && quoteNull(cell) != cell:
		return appendString(nil, cell[1:len(cell)-1]), nil
	case c.isText():
		return appendString(nil, cell), nil
	}
	value := jsontext.Value(strings.TrimSpace(cell))
	if !value.IsValid() {
		if c.member != "" { // a limit: its rule says what it must be
			return appendString(nil, cell), nil
		}
		return nil, Errorf(Malformed, "the column %s must be JSON, or empty", c.name())
	}
	return value, nil
}

func (c *column) isText() bool {
	switch c.field.name {
	case "models", "credentials", "keys", "groups", "limits", "version":
		return false
	case "metadata":
		return c.member != ""
	default:
		return true
	}
}

func (c *column) name() string {
	if c.member == "" {
		return c.field.name
	}
	return strconv.Quote(c.field.name + "." + c.member)
}
