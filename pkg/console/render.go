package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

//go:embed templates assets text
var files embed.FS

// texts holds all words of the console by key. Another language is another file.
var texts = sync.OnceValue(func() map[string]string {
	content, err := files.ReadFile("text/en.txt")
	if err != nil {
		panic(err) // it is embedded
	}
	all := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if key, text, ok := strings.Cut(strings.TrimSpace(line), " = "); ok && !strings.HasPrefix(key, "#") {
			all[key] = text
		}
	}
	return all
})

// text returns the words of a key, with the arguments filled in.
func text(key string, about ...any) string {
	words, ok := texts()[key]
	if !ok {
		words = key
	}
	if len(about) > 0 {
		return fmt.Sprintf(words, about...)
	}
	return words
}

// templates are parsed for the first page, so that the start does not wait for them.
var templates = sync.OnceValues(func() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"t": text, "asset": assetURL, "when": when, "icon": icon, "path": userPath, "id": idText,
		"number": number, "plural": plural, "list": func(items ...any) []any { return items }, "anyModels": anyModels, "userRows": userRows, "dict": dict, "pretty": pretty,
		"span": span, "said": said, "detail": detail, "choices": choicesOf,
	}).ParseFS(files, "templates/*.html")
})

// page is what every page shows.
type page struct {
	Title   string
	Section string // of the navigation
	Session *session
	Path    string
	Notice  string
}

// page begins a page; about fills in its title.
func (c *Console) page(r *http.Request, s *session, title, section string, about ...any) page {
	p := page{Title: text(title, about...), Section: section, Session: s, Path: Path}
	if key := r.URL.Query().Get("done"); s != nil && key != "" {
		p.Notice = texts()["done."+key]
	}
	return p
}

// Can says whether the session's caller has a scope.
func (p page) Can(scope string) bool { return p.Session.Can(scope) }

func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) error {
	return c.write(w, r, status, name, data, true)
}

// write answers with a page. A page that shows a secret is not compressed, so that its length reveals
// nothing.
func (c *Console) write(w http.ResponseWriter, r *http.Request, status int, name string, data any, compress bool) error {
	all, err := templates()
	if err != nil {
		return err
	}
	body := pageBuffers.Get().(*bytes.Buffer) //nolint:forcetypeassert // the pool holds nothing else
	defer giveBuffer(body)
	if err := all.ExecuteTemplate(body, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	content := body.Bytes()
	if compress && acceptsGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		content = zippedPage(content)
	}
	w.Header().Add("Vary", "Accept-Encoding")
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content) // the client is gone when this fails
	return nil
}

func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";q=")
		if strings.EqualFold(name, "gzip") && strings.Trim(weight, "0.") != "" || strings.EqualFold(name, "gzip") && weight == "" {
			return true
		}
	}
	return false
}

func zipped(content []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is a constant
	_, _ = z.Write(content)
	_ = z.Close()
	return out.Bytes()
}

var pageBuffers = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 64<<10)) }}

// giveBuffer clears a buffer, which may have held a secret, and keeps it for reuse.
func giveBuffer(b *bytes.Buffer) {
	clear(b.Bytes()[:b.Cap()])
	if b.Reset(); b.Cap() <= 256<<10 {
		pageBuffers.Put(b)
	}
}

// pageWriters are reused: each has 800 KB of tables. The fastest level is enough for a page.
var pageWriters = sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}

func zippedPage(content []byte) []byte {
	z := pageWriters.Get().(*gzip.Writer) //nolint:forcetypeassert // the pool holds nothing else
	defer pageWriters.Put(z)
	out := bytes.NewBuffer(make([]byte, 0, 16<<10))
	z.Reset(out)
	_, _ = z.Write(content)
	_ = z.Close()
	return out.Bytes()
}

// asset is one of our files, by a name that holds its hash.
type asset struct {
	name, kind      string
	content, zipped []byte
}

// assets are the files by their own name and by the name in URLs.
var assets = sync.OnceValue(func() map[string]*asset {
	all := map[string]*asset{}
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, file := range names {
		content, err := files.ReadFile(file)
		if err != nil {
			panic(err) // it is embedded
		}
		hash, base := sha256.Sum256(content), path.Base(file)
		ext := path.Ext(base)
		one := &asset{name: strings.TrimSuffix(base, ext) + "." + hex.EncodeToString(hash[:8]) + ext,
			kind: mime.TypeByExtension(ext), content: content, zipped: zipped(content)}
		all[base], all[one.name] = one, one
	}
	return all
})

func assetURL(name string) string { return Path + "assets/" + assets()[name].name }

func serveAsset(w http.ResponseWriter, r *http.Request, _ *session) error {
	one, ok := assets()[r.PathValue("name")]
	if !ok || one.name != r.PathValue("name") {
		return user.Errorf(user.NotFound, "there is no such file")
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", one.kind)
	w.Header().Add("Vary", "Accept-Encoding")
	content := one.content
	if acceptsGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		content = one.zipped
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) // the client is gone when this fails
	return nil
}

// when shows a time in UTC; a script converts it to the viewer's zone.
func when(at any) template.HTML {
	var t time.Time
	switch at := at.(type) {
	case time.Time:
		t = at
	case *time.Time:
		if at == nil {
			return template.HTML(template.HTMLEscapeString(text("never")))
		}
		t = *at
	}
	if t.IsZero() {
		return template.HTML(template.HTMLEscapeString(text("never")))
	}
	utc := t.UTC()
	return template.HTML(`<time datetime="` + utc.Format(time.RFC3339) + `" title="` + utc.Format("2 January 2006, 15:04:05") + ` UTC">` +
		utc.Format("2 Jan 2006, 15:04") + ` UTC</time>`) //nolint:gosec // digits and names of months
}

// said is a detail of the audit log for people: times as everywhere, and numbers without an exponent.
func said(value any) any {
	switch v := value.(type) {
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return when(at)
		}
	case float64:
		return number(int64(v))
	}
	return value
}

// span says how long something takes or has lasted, in its largest unit.
func span(d time.Duration) string {
	for _, unit := range []struct {
		name string
		long time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if d >= unit.long {
			return plural("span."+unit.name, int64(d/unit.long))
		}
	}
	return plural("span.second", int64(d/time.Second))
}

func userPath(id uuid.UUID) string { return Path + "users/" + id.String() }

// idText is empty for no id.
func idText(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// number groups the digits of a number by thousands.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// plural returns the words for a number of things, by the given key with .one or .other appended.
func plural(key string, n int64) string {
	if n == 1 {
		return text(key + ".one")
	}
	return text(key+".other", number(n))
}

func money(c user.Cents) string { return fmt.Sprintf("$%d.%02d", c/100, c%100) }

// anyModels says what a list without models means: none or, where there is no list, the text all. A user then may use
// every model; an API key, which only narrows, what its user may.
func anyModels(models []string, all string) string {
	if models == nil {
		return text(all)
	}
	return text("models.none")
}

// dict makes a map, for a template that needs several values.
func dict(pairs ...any) map[string]any {
	made := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		made[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return made
}

// pretty shows JSON as people read it: a string without quotes, a list of strings by lines, null as nothing.
func pretty(value []byte) string {
	var plain string
	if json.Unmarshal(value, &plain) == nil && string(value) != "null" {
		return plain
	}
	var list []string
	if json.Unmarshal(value, &list) == nil && len(list) > 0 {
		return strings.Join(list, "\n")
	}
	var out bytes.Buffer
	if string(value) == "null" || json.Indent(&out, value, "", "  ") != nil {
		return text("nothing")
	}
	return out.String()
}

// icons are paths in a square of 16, drawn by lines.
var icons = map[string]string{
	"users":     "M6 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6M1 14c0-3 2-4.5 5-4.5s5 1.5 5 4.5M11 2.5a3 3 0 0 1 0 5M12.5 9.8c1.6.6 2.5 2 2.5 4.2",
	"new":       "M8 3v10M3 8h10",
	"import":    "M8 1.5v8M4.5 6.5 8 10l3.5-3.5M2 12v2.5h12V12",
	"export":    "M8 10V2M4.500 5.500 8 2l3.500 3.500M2 12v2.500h12V12",
	"activity":  "M1 8h3l2-5 4 10 2-5h3",
	"keys":      "M5.500 13a3.500 3.500 0 1 1 2.500-6l6-5M11 4.500l2 2M8 7l-2.500 2.500",
	"operation": "M2 13a7 7 0 1 1 12 0M8 10l3-4M8 11a1 1 0 1 0 0-2",
	"search":    "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10M10.500 10.500 14 14",
	"close":     "M4 4l8 8M12 4l-8 8",
	"up":        "M8 13V3M4 7l4-4 4 4",
	"down":      "M8 3v10M4 9l4 4 4-4",
	"ok":        "M3 8.500 6.500 12 13 4.500",
	"stop":      "M8 15A7 7 0 1 0 8 1a7 7 0 0 0 0 14M3.500 3.500l9 9",
	"warning":   "M8 2 1.500 14h13zM8 6.500v3.500M8 12v.500",
}

// icon draws a decorative icon: words always stand beside it.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="` + icons[name] + `"/></svg>`) //nolint:gosec // of our own
}

// withQuery returns a path with parameters.
func withQuery(path string, values url.Values) string {
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}
