package body

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aiadmin/pkg/user"
)

// MaxLine bounds a line of a file without its line break: as much as a body that brings one user.
const MaxLine = 1 << 20

// Line is one user of a file.
type Line struct {
	Number int            // of the physical line where it begins, from 1
	Object jsontext.Value // as the body of one change has it
	Err    error          // why it is none
	Read   int64          // bytes of the file up to its end
}

// Lines reads a file line by line. It holds one line, and what is too large is passed over, not held.
type Lines struct {
	records records
	columns *user.Columns // nil: the file is NDJSON
	cells   *csv.Reader
	record  bytes.Reader // which cells reads
	buffer  []byte       // its content
}

var (
	errLineTooLarge = user.Errorf(user.TooLarge, "the line is larger than 1 MiB")
	errNoHeader     = user.Errorf(user.Malformed, "the file is empty: a CSV file begins with a line that names its columns")
)

// ReadNDJSON reads a file of JSON objects, one a line. Empty lines count, and are no users. A byte order mark
// is passed over.
func ReadNDJSON(r io.Reader) *Lines { return &Lines{records: newRecords(r, false)} }

// Records yields the records of a file, each with the line where it begins and without its line break: the lines of
// NDJSON or, of CSV, the header and what follows. Those over [MaxLine] are left out. It ends where the file does, or
// cannot be read on.
func Records(r io.Reader, csv bool) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for records := newRecords(r, csv); ; {
			record, line, err := records.next()
			if err != nil && !errors.Is(err, errLineTooLarge) || err == nil && !yield(line, record) {
				return
			}
		}
	}
}

// ReadCSV reads a file as RFC 4180 has it, with a header. A byte order mark is passed over. Line breaks within
// quotes are kept as they are. It fails if the header is none.
func ReadCSV(r io.Reader) (*Lines, error) {
	l := &Lines{records: newRecords(r, true)}
	l.newCells()
	header, _, err := l.records.next()
	if errors.Is(err, io.EOF) {
		return nil, errNoHeader
	}
	if err != nil {
		return nil, err
	}
	names, err := l.split(header)
	if err != nil {
		return nil, err
	}
	columns, err := user.ParseColumns(names)
	l.columns = &columns
	return l, err
}

// Next returns the next line; [io.EOF] ends the file. Another error says that the rest cannot be read.
func (l *Lines) Next() (Line, error) {
	for {
		record, number, err := l.records.next()
		if err != nil && !errors.Is(err, errLineTooLarge) {
			return Line{}, err
		}
		if err == nil && len(bytes.TrimSpace(record)) == 0 {
			continue
		}
		line := Line{Number: number, Err: err, Read: l.records.read}
		if err == nil {
			line.Object, line.Err = l.object(record)
		}
		if kind := user.KindOf(line.Err); l.records.last > number && (kind == user.Malformed || kind == user.TooLarge) {
			line.Err = user.Errorf(kind, "%s (with its quotes it reaches to line %d: is one missing?)", user.Public(line.Err).Message, l.records.last)
		}
		return line, nil
	}
}

func (l *Lines) object(record []byte) (jsontext.Value, error) {
	if l.columns == nil {
		return user.ParseBody(bytes.Clone(record))
	}
	cells, err := l.split(record)
	if err != nil {
		return nil, err
	}
	if want := len(l.columns.Names()); len(cells) != want {
		return nil, user.Errorf(user.Malformed, "the line has %d cells, the header %d", len(cells), want)
	}
	object, err := l.columns.JSON(cells)
	if err != nil {
		return nil, err
	}
	return user.ParseBody(object)
}

// carriageReturn stands for a carriage return within quotes, which the decoder would drop. No UTF-8 has it.
const carriageReturn = "\xff"

// split returns the cells of one record.
func (l *Lines) split(record []byte) ([]string, error) {
	if bytes.IndexByte(record, carriageReturn[0]) >= 0 {
		return nil, user.Errorf(user.Malformed, "the line is not valid UTF-8")
	}
	if bytes.IndexByte(record, '\r') >= 0 {
		record = keepReturns(record)
	}
	l.buffer = append(append(l.buffer[:0], record...), '\n')
	l.record.Reset(l.buffer)
	cells, err := l.cells.Read()
	if err != nil {
		l.newCells() // whatever it has kept of the record
		return nil, malformedCSV(err)
	}
	for i := range cells {
		cells[i] = strings.ReplaceAll(cells[i], carriageReturn, "\r")
	}
	return cells, nil
}

func (l *Lines) newCells() {
	l.cells = csv.NewReader(&l.record)
	l.cells.ReuseRecord, l.cells.FieldsPerRecord = true, -1
}

func malformedCSV(err error) error {
	switch {
	case errors.Is(err, csv.ErrBareQuote):
		return user.Errorf(user.Malformed, `a cell with a quote in it must be quoted, and the quote doubled: "say ""hi"""`)
	case errors.Is(err, csv.ErrQuote), errors.Is(err, io.EOF):
		return user.Errorf(user.Malformed, "a quoted cell does not end, or something follows its end")
	default:
		return user.Errorf(user.Malformed, "not a record of CSV (RFC 4180)").Wrap(err)
	}
}

// keepReturns replaces the carriage returns within quotes.
func keepReturns(record []byte) []byte {
	kept, at := bytes.Clone(record), cellStart
	for i, c := range kept {
		if at = at.after(c); at == quoted && c == '\r' {
			kept[i] = carriageReturn[0]
		}
	}
	return kept
}

// place is where in a CSV file a byte is, as far as quotes matter.
type place int

const (
	cellStart place = iota
	unquoted        // in a cell that is not quoted, where a quote is a fault and opens nothing
	quoted
	quoteSeen // in a quoted cell: its end, or the first of two quotes that stand for one
)

// after returns the place after one more byte.
func (p place) after(c byte) place {
	switch {
	case p == quoted && c == '"':
		return quoteSeen
	case p == quoted:
		return quoted
	case c == '"' && p != unquoted:
		return quoted
	case c == ',' || c == '\n':
		return cellStart
	default:
		return unquoted
	}
}

// records cuts a file into records: at each line feed, in CSV at those outside of quotes.
type records struct {
	from   *bufio.Reader
	csv    bool
	line   int   // the number of line feeds seen
	last   int   // the line where the latest record ended
	read   int64 // bytes
	buffer []byte
	unread error // what the file's end shows: lines were taken for a part of a quoted cell
}

func newRecords(r io.Reader, csv bool) records {
	return records{from: bufio.NewReaderSize(r, 64<<10), csv: csv}
}

// next returns a record without its line break, and the line where it begins. It is good until the next call.
func (s *records) next() (record []byte, line int, err error) {
	if s.read == 0 {
		s.skipMark()
	}
	s.buffer = s.buffer[:0]
	tooLarge, at, begun := false, cellStart, s.line+1
	for {
		part, err := s.from.ReadSlice('\n')
		s.read += int64(len(part))
		if tooLarge = tooLarge || len(s.buffer)+len(part) > MaxLine+len("\r\n"); !tooLarge {
			s.buffer = append(s.buffer, part...)
		}
		for i := 0; s.csv && i < len(part); i++ {
			at = at.after(part[i])
		}
		switch {
		case err == nil:
			s.line++
			if at == quoted {
				continue
			}
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case !errors.Is(err, io.EOF):
			return nil, begun, err
		case len(s.buffer) == 0 && !tooLarge:
			return nil, begun, cmp.Or(s.unread, io.EOF)
		case at == quoted && s.line >= begun:
			s.unread = user.Errorf(user.Malformed, "a quote that opens in the record of line %d does not end: the lines after it were not judged", begun)
		}
		if s.last = s.line; err != nil {
			s.last++ // it ends without a line feed
		}
		record := bytes.TrimSuffix(bytes.TrimSuffix(s.buffer, []byte{'\n'}), []byte{'\r'})
		if tooLarge || len(record) > MaxLine {
			return nil, begun, errLineTooLarge
		}
		return record, begun, nil
	}
}

// skipMark passes over a byte order mark.
func (s *records) skipMark() {
	const mark = "\ufeff"
	if begin, _ := s.from.Peek(len(mark)); string(begin) == mark { // a fault comes again with the first record
		n, _ := s.from.Discard(len(mark))
		s.read += int64(n)
	}
}
