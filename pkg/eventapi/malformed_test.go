package eventapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/eventapi"
	"aiadmin/pkg/user"
)

const ada = `{"tag":"ada","name":"Ada"}`

// TestMalformedBinary has a row for each way in which headers can be wrong.
func TestMalformedBinary(t *testing.T) {
	t.Parallel()
	s := start(t)
	change := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for name, row := range map[string]struct {
		header map[string]string
		body   string
		status int
	}{
		"specversion 0.3":            {change("ce-specversion", "0.3"), ada, 400},
		"specversion 9.9":            {change("ce-specversion", "9.9"), ada, 400},
		"no specversion":             {change("ce-specversion", "-"), ada, 400},
		"text that is no event":      {change("ce-specversion", "-", "Content-Type", "text/plain"), ada, 415},
		"no id":                      {change("ce-id", "-"), ada, 400},
		"empty id":                   {change("ce-id", ""), ada, 400},
		"blank id":                   {change("ce-id", "%20"), ada, 400},
		"no source":                  {change("ce-source", "-"), ada, 400},
		"source is no URI":           {change("ce-source", "http://[::1"), ada, 400},
		"no type":                    {change("ce-type", "-"), ada, 400},
		"bad time":                   {change("ce-time", "yesterday"), ada, 400},
		"time with a bad zone":       {change("ce-time", "2026-01-31T12:00:00+0100"), ada, 400},
		"id twice":                   {change("ce-id", "a\nb"), ada, 400},
		"the same id twice":          {change("ce-id", "a\na"), ada, 400},
		"an extension twice":         {change("ce-expectedversion", "1\n2"), ada, 400},
		"content type twice":         {change("Content-Type", "application/json\ntext/plain"), ada, 400},
		"relative dataschema":        {change("ce-dataschema", "user.json"), ada, 400},
		"empty subject":              {change("ce-subject", ""), ada, 400},
		"ce-datacontenttype":         {change("ce-datacontenttype", "application/json"), ada, 400},
		"overlong UTF-8":             {change("ce-id", "%C0%A0"), ada, 400},
		"open quotes":                {change("ce-id", `"abc`), ada, 400},
		"text after quotes":          {change("ce-id", `"abc"d`), ada, 400},
		"NUL in an id":               {change("ce-id", "a%00b"), ada, 400},
		"line break in an id":        {change("ce-id", "a%0D%0Ab"), ada, 400},
		"a noncharacter":             {change("ce-id", "a%EF%BF%BFb"), ada, 400},
		"raw bytes that are no text": {change("ce-id", "a\xffb"), ada, 400},
		"huge id":                    {change("ce-id", strings.Repeat("x", 1025)), ada, 400},
		"huge source":                {change("ce-source", "/"+strings.Repeat("x", 2048)), ada, 400},
		"expectedversion is a word":  {change("ce-expectedversion", "latest"), ada, 400},
		"expectedversion 1.5":        {change("ce-expectedversion", "1.5"), ada, 400},
		"no body":                    {nil, "", 400},
		"a body that is no JSON":     {nil, "{", 400},
		"an array":                   {nil, "[]", 400},
		"a duplicate member":         {nil, `{"tag":"a","tag":"b","name":"A"}`, 400},
		"trailing data":              {nil, ada + "{}", 400},
		"invalid UTF-8":              {nil, "{\"tag\":\"a\xff\",\"name\":\"A\"}", 400},
		"lone surrogate":             {nil, `{"tag":"a","name":"\ud800"}`, 400},
		"deeply nested":              {nil, `{"tag":"a","name":"A","metadata":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000) + "}", 400},
		"nested past the limit":      {nil, `{"tag":"a","name":"A","metadata":` + strings.Repeat(`{"a":`, 6) + "1" + strings.Repeat("}", 6) + "}", 422},
		"2 MiB":                      {nil, `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413},
		"no content type":            {change("Content-Type", "-"), ada, 415},
		"text":                       {change("Content-Type", "text/plain"), ada, 415},
		"XML with parameters":        {change("Content-Type", "application/xml; charset=utf-8"), ada, 415},
		"another charset":            {change("Content-Type", "application/json; charset=latin1"), ada, 415},
		"no media type":              {change("Content-Type", "json;;="), ada, 415},
		"an XML event":               {change("Content-Type", "application/cloudevents+xml"), ada, 415},
		"a compressed body":          {change("Content-Encoding", "gzip"), ada, 415},
		"unknown type":               {change("ce-type", "ai.admin.user.promote"), ada, 422},
		"an outgoing type":           {change("ce-type", "ai.admin.user.created"), ada, 422},
		"invalid data":               {nil, `{"tag":"-","name":""}`, 422},
		"unknown field":              {nil, `{"tag":"a","name":"A","colour":"red"}`, 422},
		"a field of the service":     {nil, `{"tag":"a","name":"A","version":3}`, 422},
		"NUL in the data":            {nil, `{"tag":"a","name":"A\u0000"}`, 422},
		"subject is another id":      {change("ce-subject", "01936f3e-0000-7000-8000-0000000000aa"), `{"id":"01936f3e-0000-7000-8000-0000000000bb","tag":"a","name":"A"}`, 422},
		"a creation of version 3":    {change("ce-expectedversion", "3"), ada, 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := s.post(t, binary("ai.admin.user.create", "m-"+name, row.header), row.body)
			checkProblem(t, got, row.status)
		})
	}
	t.Cleanup(func() { s.wantUsers(t, 0) })
}

// TestMalformedStructured has a row for each way in which an envelope can be wrong.
func TestMalformedStructured(t *testing.T) {
	t.Parallel()
	s := start(t)
	with := func(name, value string) string {
		return envelope("ai.admin.user.create", "m", ada, map[string]string{name: value})
	}
	for name, row := range map[string]struct {
		body        string
		status      int
		contentType string
	}{
		"specversion 0.3":          {body: with("specversion", `"0.3"`), status: 400},
		"specversion 9.9":          {body: with("specversion", `"9.9"`), status: 400},
		"a numeric specversion":    {body: with("specversion", `1.0`), status: 400},
		"no specversion":           {body: with("specversion", ``), status: 400},
		"a null specversion":       {body: with("specversion", `null`), status: 400},
		"numeric id":               {body: with("id", `5`), status: 400},
		"no id":                    {body: with("id", ``), status: 400},
		"a null id":                {body: with("id", `null`), status: 400},
		"empty id":                 {body: with("id", `""`), status: 400},
		"an object for an id":      {body: with("id", `{"a":1}`), status: 400},
		"no source":                {body: with("source", ``), status: 400},
		"empty source":             {body: with("source", `""`), status: 400},
		"source is no URI":         {body: with("source", `"http://[::1"`), status: 400},
		"no type":                  {body: with("type", ``), status: 400},
		"bad time":                 {body: with("time", `"yesterday"`), status: 400},
		"numeric time":             {body: with("time", `1700000000`), status: 400},
		"NUL in an id":             {body: with("id", `"a\u0000b"`), status: 400},
		"huge id":                  {body: with("id", `"`+strings.Repeat("x", 1025)+`"`), status: 400},
		"data and data_base64":     {body: with("data_base64", `"e30="`), status: 400},
		"invalid base64":           {body: envelope("ai.admin.user.create", "m", "", map[string]string{"data_base64": `"!!"`}), status: 400},
		"numeric base64":           {body: envelope("ai.admin.user.create", "m", "", map[string]string{"data_base64": `7`}), status: 400},
		"base64 of no JSON":        {body: envelope("ai.admin.user.create", "m", "", map[string]string{"data_base64": `"AAEC"`}), status: 400},
		"data is a string":         {body: envelope("ai.admin.user.create", "m", `"{}"`, nil), status: 400},
		"no data":                  {body: envelope("ai.admin.user.create", "m", "", nil), status: 400},
		"a duplicate attribute":    {body: `{"id":"a",` + with("id", `"b"`)[1:], status: 400},
		"a duplicate in data":      {body: envelope("ai.admin.user.create", "m", `{"tag":"a","tag":"b","name":"A"}`, nil), status: 400},
		"invalid UTF-8":            {body: with("extra", "\"\xff\""), status: 400},
		"trailing data":            {body: with("extra", `"x"`) + "1", status: 400},
		"no JSON":                  {body: "<event/>", status: 400},
		"empty":                    {body: "", status: 400},
		"an array":                 {body: "[" + with("extra", `"x"`) + "]", status: 400},
		"half an event":            {body: with("extra", `"x"`)[:20], status: 400},
		"deeply nested":            {body: with("data", strings.Repeat("[", 200_000)+strings.Repeat("]", 200_000)), status: 400},
		"2 MiB":                    {body: with("data", `"`+strings.Repeat("x", 2<<20)+`"`), status: 413},
		"expectedversion true":     {body: with("expectedversion", `true`), status: 400},
		"expectedversion \"07\"":   {body: with("expectedversion", `"07"`), status: 400},
		"data is XML":              {body: with("datacontenttype", `"application/xml"`), status: 415},
		"data in another charset":  {body: with("datacontenttype", `"application/json; charset=utf-16"`), status: 415},
		"event in another charset": {body: with("extra", `"x"`), status: 415, contentType: "application/cloudevents+json; charset=utf-16"},
		"an avro event":            {body: with("extra", `"x"`), status: 415, contentType: "application/cloudevents+avro"},
		"a batch of XML":           {body: with("extra", `"x"`), status: 415, contentType: "application/cloudevents-batch+xml"},
		"unknown type":             {body: with("type", `"com.example.x"`), status: 422},
		"invalid data":             {body: with("data", `{"tag":"a"}`), status: 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contentType := oneEvent
			if row.contentType != "" {
				contentType = row.contentType
			}
			checkProblem(t, s.post(t, structured(contentType), row.body), row.status)
		})
	}
	t.Cleanup(func() { s.wantUsers(t, 0) })
}

func TestMalformedBatch(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, row := range map[string]struct {
		body   string
		status int
	}{
		"1,001 events":    {"[" + strings.Repeat("{},", 1000) + "{}]", 413},
		"over 8 MiB":      {`["` + strings.Repeat("x", 8<<20) + `"]`, 413},
		"an object":       {"{}", 400},
		"empty":           {"", 400},
		"no end":          {"[{}", 400},
		"trailing data":   {"[] []", 400},
		"trailing comma":  {"[{},]", 400},
		"deeply nested":   {strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000), 400},
		"not JSON at all": {"\x00\x01", 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkProblem(t, s.post(t, structured(someEvent), row.body), row.status)
		})
	}
}

func checkProblem(t *testing.T, got answer, status int) {
	t.Helper()
	if got.status != status || got.header.Get("Content-Type") != "application/problem+json" || got.errorCode() == "" {
		t.Errorf("answered %d %s %.200s, want a problem with %d", got.status, got.header.Get("Content-Type"), got.body, status)
	}
}

func (s *service) wantUsers(t *testing.T, want int) {
	t.Helper()
	var users, claims int
	if err := s.db.DB().NewRaw("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM claims)").Scan(context.Background(), &users, &claims); err != nil {
		t.Fatal(err)
	}
	if users != want || claims != want {
		t.Errorf("%d users and %d claims, want %d of each", users, claims, want)
	}
}

// TestUnusual has rows for what is well-formed though it may not look so.
func TestUnusual(t *testing.T) {
	t.Parallel()
	s := start(t)
	n := 0
	body := func() string { n++; return fmt.Sprintf(`{"tag":"u%d","name":"N"}`, n) }
	for name, row := range map[string]struct {
		header map[string]string
		body   string
	}{
		"a percent-encoded id":       {binary("ai.admin.user.create", "Euro%20%E2%82%AC", nil), body()},
		"a percent sign at the end":  {binary("ai.admin.user.create", "50%", nil), body()},
		"a percent sign, no escape":  {binary("ai.admin.user.create", "%G1 100%25 5%2", nil), body()},
		"an unread extension of 50%": {binary("ai.admin.user.create", "p1", map[string]string{"ce-progress": "50%"}), body()},
		"unread extensions, badly":   {binary("ai.admin.user.create", "p2", map[string]string{"ce-x": "a\nb", "ce-bad-name": "x", "ce-bad_name": "x", "ce-": "x", "ce-data": "x", "ce-y": "%C0%A0", "ce-z": `"abc`}), body()},
		"unread attributes of JSON":  {structured(oneEvent), envelope("ai.admin.user.create", "p3", body(), map[string]string{"Bad-Name": `"x"`, "comExampleExtra": `{}`, "": "1.5", "n": "2147483648", "nul": `"\u0000"`})},
		"needless encoding":          {binary("ai.admin.user.create", "%61%2fb", nil), body()},
		"a quoted id":                {binary("ai.admin.user.create", `"a \"quoted\" id"`, nil), body()},
		"an encoded type":            {binary("ai%2eadmin.user.create", "i1", nil), body()},
		"UTF-8 as it is":             {binary("ai.admin.user.create", "Zoë", nil), body()},
		"parameters":                 {binary("ai.admin.user.create", "i2", map[string]string{"Content-Type": `Application/JSON; charset="UTF-8"`}), body()},
		"a JSON type":                {binary("ai.admin.user.create", "i3", map[string]string{"Content-Type": "application/vnd.hr+json"}), body()},
		"every attribute":            {binary("ai.admin.user.create", "i4", map[string]string{"ce-time": "2026-01-31T12:00:00.123456789+01:00", "ce-subject": "employee/7", "ce-dataschema": "urn:hr:1", "ce-traceparent": "x"}), body()},
		"expected not to be there":   {binary("ai.admin.user.create", "i5", map[string]string{"ce-expectedversion": "0"}), body()},
		"structured, with charset":   {structured("application/CloudEvents+json; charset=UTF-8"), envelope("ai.admin.user.create", "s1", body(), nil)},
		"structured, base64":         {structured(oneEvent), envelope("ai.admin.user.create", "s2", "", map[string]string{"data_base64": `"eyJ0YWciOiJiNjQiLCJuYW1lIjoiXC8ifQ=="`})},
		"base64 with an escape":      {structured(oneEvent), envelope("ai.admin.user.create", "s3", "", map[string]string{"data_base64": `"eyJ0YWciOiJiNjUiLCJuYW1lIjoiPz8\/In0="`})},
		"nulls for what is not set":  {structured(oneEvent), envelope("ai.admin.user.create", "s4", body(), map[string]string{"subject": "null", "time": "null", "extra": "null", "data_base64": "null"})},
		"other types of attributes":  {structured(oneEvent), envelope("ai.admin.user.create", "s5", body(), map[string]string{"b": "true", "n": "-2147483648", "z": "0"})},
		"escaped names":              {structured(oneEvent), strings.Replace(envelope("ai.admin.user.create", "s6", body(), nil), `"id"`, `"\u0069d"`, 1)},
		"ce- headers as well":        {binary("x", "y", map[string]string{"Content-Type": oneEvent}), envelope("ai.admin.user.create", "s7", body(), nil)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := s.post(t, row.header, row.body); got.status != http.StatusOK || got.header.Get("Ce-Type") != "ai.admin.user.created" {
				t.Errorf("answered %d %v %s", got.status, got.header, got.body)
			}
		})
	}
}

// TestGateIsEnteredOnceTheBodyHasArrived: an event that trickles in takes no place.
func TestGateIsEnteredOnceTheBodyHasArrived(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"} {
		body, sender := io.Pipe()
		entered := make(chan struct{})
		h := eventapi.New(eventapi.Options{
			Enter: func(context.Context) (func(), error) {
				close(entered)
				return nil, user.Errorf(user.Unavailable, "no place")
			}})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
		r.Header.Set("Content-Type", contentType)
		w, done := httptest.NewRecorder(), make(chan struct{})
		go func() { defer close(done); h.ServeHTTP(w, r) }()
		_, _ = sender.Write([]byte("["))
		select {
		case <-entered:
			t.Errorf("%s: a place was taken before the body had arrived", contentType)
		case <-time.After(20 * time.Millisecond):
		}
		_ = sender.Close()
		<-done
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: without a place: %d", contentType, w.Code)
		}
	}
}
