package body_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/body"
	"aiadmin/pkg/user"
)

// all reads a file as "line object" or "line error kind".
func all(t testing.TB, lines *body.Lines) (read []string) {
	t.Helper()
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return read
		}
		if err != nil {
			return append(read, err.Error())
		}
		if line.Err != nil {
			read = append(read, fmt.Sprint(line.Number, " ", user.KindOf(line.Err)))
		} else {
			read = append(read, fmt.Sprint(line.Number, " ", string(line.Object)))
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", body.MaxLine)
	padded := `{"a":"` + huge[:body.MaxLine-len(`{"a":""}`)] + `"}`
	for name, test := range map[string]struct {
		csv     bool
		content string
		want    []string
	}{
		"objects":           {false, "{\"a\":1}\n\n {\"b\":2} \r\n[]\n", []string{`1 {"a":1}`, `3 {"b":2}`, "4 MALFORMED_BODY"}},
		"no last line feed": {false, `{"a":1}`, []string{`1 {"a":1}`}},
		"nothing":           {false, "", nil},
		"a huge line":       {false, huge + "y\n{\"a\":1}\n", []string{"1 BODY_TOO_LARGE", `2 {"a":1}`}},
		"a huge last line":  {false, huge + "y", []string{"1 BODY_TOO_LARGE"}},
		"lines of 1 MiB":    {false, padded + "\n" + padded + "\r\n" + padded + " \n" + padded, []string{"1 " + padded, "2 " + padded, "3 BODY_TOO_LARGE", "4 " + padded}},
		"a mark in NDJSON":  {false, "\ufeff{\"a\":1}\n", []string{`1 {"a":1}`}},
		"a mark alone":      {false, "\ufeff", nil},
		"records":           {true, "tag,name\r\na,A\r\nb,\r\n", []string{`2 {"tag":"a","name":"A"}`, `3 {"tag":"b"}`}},
		"a mark":            {true, "\ufefftag\nx\n", []string{`2 {"tag":"x"}`}},
		"breaks in cells":   {true, "tag,externalId\n\"a\r\nb\",\"c\n\r\"\nd,e\n", []string{`2 {"tag":"a\r\nb","externalId":"c\n\r"}`, `5 {"tag":"d","externalId":"e"}`}},
		"too few cells":     {true, "tag,name\na\n\nb,B\n", []string{"2 MALFORMED_BODY", `4 {"tag":"b","name":"B"}`}},
		"a bare quote":      {true, "tag,name\na\"b\",x\nb,B\n", []string{"2 MALFORMED_BODY", `3 {"tag":"b","name":"B"}`}},
		"one bare quote":    {true, "tag,name\na,5\" b\nb,\"B\"\"\"\nc,\"C\"c\"\r\nd,\"D\r\n\"\n", []string{"2 MALFORMED_BODY", `3 {"tag":"b","name":"B\""}`, "4 MALFORMED_BODY", `5 {"tag":"d","name":"D\r\n"}`}},
		"no end of a quote": {true, "tag\na\n\"b\nc\n", []string{`2 {"tag":"a"}`, "3 MALFORMED_BODY",
			"MALFORMED_BODY: a quote that opens in the record of line 3 does not end: the lines after it were not judged"}},
		"nor of its line":    {true, "tag\na\n\"b", []string{`2 {"tag":"a"}`, "3 MALFORMED_BODY"}},
		"a huge quoted cell": {true, "tag,name\na,\"" + huge + "\n\n\"\nb,B\n", []string{"2 BODY_TOO_LARGE", `5 {"tag":"b","name":"B"}`}},
		"not UTF-8":          {true, "tag\n\xff\n\xfe\nb\n", []string{"2 MALFORMED_BODY", "3 MALFORMED_BODY", `4 {"tag":"b"}`}},
		"limits and members": {true, "limits.tokensPerMinute,metadata.team,models,metadata.x\n5,5,\"[\"\"a\"\"]\",\n,,[,\n", []string{
			`2 {"models":["a"],"limits":{"tokensPerMinute":5},"metadata":{"team":"5"}}`, "3 MALFORMED_BODY"}},
		"members apart": {true, "metadata.a,tag,limits.tokensPerMinute,metadata.b,limits.requestsPerMinute\n1,t,2,3,4\n,u,,,\n", []string{
			`2 {"tag":"t","limits":{"tokensPerMinute":2,"requestsPerMinute":4},"metadata":{"a":"1","b":"3"}}`, `3 {"tag":"u"}`}},
		"metadata apart": {true, "metadata,metadata.b\n\"{\"\"a\"\":1}\",2\n", []string{"2 MALFORMED_BODY"}},
	} {
		for reader, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "by halves": iotest.HalfReader} {
			lines := body.ReadNDJSON(wrap(strings.NewReader(test.content)))
			if test.csv {
				var err error
				if lines, err = body.ReadCSV(wrap(strings.NewReader(test.content))); err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
			}
			if diff := cmp.Diff(test.want, all(t, lines)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, reader, diff)
			}
		}
	}
	if _, err := body.ReadCSV(strings.NewReader("")); user.KindOf(err) != user.Malformed {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := body.ReadCSV(strings.NewReader("tag,keyz,scim,limits,limits.x,metadata.\n")); user.KindOf(err) != user.Invalid || !strings.Contains(fmt.Sprint(err), "5") && strings.Count(err.Error(), "is not a column") != 5 {
		t.Errorf("a wrong header: %v", err)
	}
	torn := errors.New("torn")
	lines := body.ReadNDJSON(io.MultiReader(strings.NewReader("{}\n{"), iotest.ErrReader(torn)))
	if got := all(t, lines); len(got) != 2 || got[0] != "1 {}" || got[1] != "torn" {
		t.Errorf("torn: %q", got)
	}
}

// FuzzCSV: whatever a file holds, each record is read in bounded time, and the cells that a whole one has come
// back as they were written.
func FuzzCSV(f *testing.F) {
	f.Add("tag,name\na,b\n", "x\r\ny")
	f.Add("tag\n\"", "\"null\"")
	f.Add("\ufeff\n\n\r\n", ",")
	f.Fuzz(func(t *testing.T, content, cell string) {
		begun := time.Now()
		if lines, err := body.ReadCSV(strings.NewReader(content)); err == nil {
			all(t, lines)
		}
		if took := time.Since(begun); took > time.Second+time.Duration(len(content))*10*time.Microsecond {
			t.Fatalf("%v for %d bytes", took, len(content))
		}
		cell = strings.ToValidUTF8(cell, "?")
		if cell == "" || cell == "null" {
			return
		}
		var file bytes.Buffer
		w := csv.NewWriter(&file)
		_ = w.WriteAll([][]string{{"metadata.x", "role"}, {cell, "r"}})
		lines, err := body.ReadCSV(&file)
		if err != nil {
			t.Fatal(err)
		}
		line, err := lines.Next()
		if err != nil || line.Err != nil {
			t.Fatalf("%q: %v, %v", cell, err, line.Err)
		}
		columns, err := user.ParseColumns([]string{"metadata.x", "role"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := columns.JSON([]string{cell, "r"})
		if err != nil || string(again) != string(line.Object) {
			t.Fatalf("%q became %s, want %s", cell, line.Object, again)
		}
	})
}
