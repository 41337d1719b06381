package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"aiadmin/pkg/user"
)

// connection says which service a command calls, with which token, and how it shows the answer.
type connection struct {
	URL       string `name:"url" env:"AI_ADMIN_URL" placeholder:"URL" help:"Where the service is, such as https://ai-admin.example.com."`
	TokenFile string `env:"AI_ADMIN_TOKEN_FILE" placeholder:"FILE" help:"File with the bearer token."`
	Profile   string `env:"AI_ADMIN_PROFILE" placeholder:"NAME" help:"Take both from this profile; see ai-admin users --help."`
	Output    string `short:"o" enum:"table,json,ndjson,csv" default:"table" placeholder:"FORMAT" help:"How to show the response: ${outputs}."`
}

// profilesHelp tells how several services are kept apart.
const profilesHelp = `Profiles are in ai-admin/profiles.yaml in the user's configuration folder ($XDG_CONFIG_HOME or
~/.config, on macOS ~/Library/Application Support). --url and --token-file win over a profile;
AI_ADMIN_URL and AI_ADMIN_TOKEN_FILE win over the default profile, not over one that you pick:

    default: test
    profiles:
      test: {url: "https://ai-admin.test.example.com", tokenFile: /home/ada/.ai-admin/test}
      prod: {url: "https://ai-admin.example.com", tokenFile: /home/ada/.ai-admin/prod}

Exit codes: 0 success, 1 refused or a line failed, 2 wrong usage, 3 the response broke off.`

// profiles is profiles.yaml.
type profiles struct {
	Default  string `yaml:"default"`
	Profiles map[string]struct {
		URL       string `yaml:"url"`
		TokenFile string `yaml:"tokenFile"`
	} `yaml:"profiles"`
}

// service is the running service that a command calls.
type service struct {
	url, token string
	output     string
	streams    streams
	client     *http.Client
}

// newService returns the service at an address; without a token, requests have no Authorization.
func newService(url, token string) *service {
	return &service{url: url, token: token,
		client: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true},
			// A change that is redirected would be sent again as a GET, whose answer looks like success.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// ProvideService returns the service that flags, environment and profile name. Kong calls it for the commands whose
// Run takes a service.
func (c *connection) ProvideService(s streams, k *kong.Context) (*service, error) {
	if c.Profile != "" || c.URL == "" || c.TokenFile == "" {
		if err := c.fill(k); err != nil {
			return nil, err
		}
	}
	base, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return nil, usage("say where the service is: --url, AI_ADMIN_URL or a profile")
	case err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "":
		return nil, usage("--url: must be an address such as https://ai-admin.example.com")
	}
	token := []byte{}
	if c.TokenFile != "" { // a service with auth: disabled needs none
		if token, err = os.ReadFile(c.TokenFile); err != nil {
			return nil, usage("--token-file: %w", err)
		}
		if len(bytes.Fields(token)) != 1 {
			return nil, usage("--token-file: %s: must hold a token and nothing else", c.TokenFile)
		}
	}
	made := newService(strings.TrimSuffix(c.URL, "/"), strings.TrimSpace(string(token)))
	made.output, made.streams = c.Output, s
	return made, nil
}

// fill sets from a profile what flags and environment leave open.
func (c *connection) fill(k *kong.Context) error {
	folder, err := os.UserConfigDir()
	switch {
	case err != nil && c.Profile == "":
		return nil // no home, no profiles
	case err != nil:
		return usage("--profile: %w", err)
	}
	file := filepath.Join(folder, "ai-admin", "profiles.yaml")
	content, err := os.ReadFile(file) //nolint:gosec // the user's own
	if errors.Is(err, os.ErrNotExist) && c.Profile == "" {
		return nil
	}
	if err != nil {
		return usage("--profile: %w", err)
	}
	var known profiles
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&known); err != nil && !errors.Is(err, io.EOF) {
		return usage("%s: %w", file, err)
	}
	name := cmp.Or(c.Profile, known.Default)
	profile, ok := known.Profiles[name]
	if !ok && name != "" {
		return usage("--profile=%s: is not in %s", name, file)
	}
	if c.Profile != "" { // asked for: it wins over the environment, though not over flags
		c.URL, c.TokenFile = ifFlag(k, "url", c.URL), ifFlag(k, "token-file", c.TokenFile)
	}
	c.URL, c.TokenFile = cmp.Or(c.URL, profile.URL), cmp.Or(c.TokenFile, profile.TokenFile)
	return nil
}

// ifFlag returns a value if it comes from a flag, and not from an environment variable.
func ifFlag(k *kong.Context, name, value string) string {
	if slices.ContainsFunc(k.Path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Name == name }) {
		return value
	}
	return ""
}

// send sends a request and returns its answer. A status from 300 on, or a media type other than Accept asks for, is
// an error. If the service received the request and does not answer, it may have done part of it: the error is torn.
func (s *service) send(ctx context.Context, method, path string, body io.Reader, headers ...string) (*http.Response, error) {
	var asked atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { asked.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return nil, usage("%w", err)
	}
	r.Header.Set("User-Agent", "ai-admin")
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := s.client.Do(r)
	switch {
	case err != nil && asked.Load():
		return nil, torn("the answer broke off: %w", err)
	case err != nil:
		return nil, err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		defer func() { _ = answer.Body.Close() }()
		if to := answer.Header.Get("Location"); to != "" {
			answer.Status += " to " + printable(to)
		}
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		return nil, statusError{answer.StatusCode, problemText(text, answer.Status)}
	}
	got, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if want := r.Header.Get("Accept"); want != "" && got != want {
		_ = answer.Body.Close()
		return nil, errNotOurs
	}
	return answer, nil
}

// statusError is an answer that refuses a request.
type statusError struct {
	status int
	text   string
}

// Error implements error.
func (e statusError) Error() string { return e.text }

// notOurs describes an answer that cannot come from the service.
const notOurs = "not an answer of ai-admin: check --url"

// problemText returns a problem in words: what is wrong, and a line for each field that is invalid.
func problemText(body []byte, otherwise string) string {
	var p struct {
		Detail    string
		ErrorCode string
		RequestID string
		Details   user.Problems
	}
	if err := json.Unmarshal(body, &p, json.MatchCaseInsensitiveNames(true)); err != nil || p.ErrorCode == "" {
		return otherwise + ": " + notOurs
	}
	text := printable(p.Detail) + " (" + p.ErrorCode
	if p.ErrorCode == string(user.Internal) {
		text += ", request " + p.RequestID
	}
	text += ")"
	for _, d := range p.Details {
		text += "\n  " + printable(d.Field+": "+d.Message)
	}
	return text
}

// call sends a request with a JSON body, or none, and returns the object that answers it. The service's answer has
// the member named has; with "" it has no content. Any other answer, such as a proxy's sign-in page, is an error.
func (s *service) call(ctx context.Context, method, path, body, has string, headers ...string) (jsontext.Value, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
		headers = append(headers, "Content-Type", "application/json")
	}
	answer, err := s.send(ctx, method, path, content, headers...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, torn("the answer broke off: %w", err)
	}
	if has == "" && answer.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	var object map[string]jsontext.Value
	if err := json.Unmarshal(read, &object); err != nil || object[has] == nil {
		return nil, errNotOurs
	}
	return read, nil
}

var errNotOurs = errors.New(notOurs)

// filter is the part of a command that selects by conditions.
type filter struct {
	connection
	Where []string `arg:"" optional:"" help:"Conditions, as in the API: ${where}"`
}

// values returns conditions such as role=admin as parameters of a request.
func (c *filter) values() (url.Values, error) {
	values := url.Values{}
	for _, arg := range c.Where {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usage("%q: must be a condition such as role=admin", arg)
		}
		if name == "limit" || name == "format" { // the command sends its own
			return nil, usage("%s: is not a condition; see --help for the command's flags", arg)
		}
		values.Add(name, value)
	}
	return values, nil
}

// listing is the part of a command that shows a list page by page.
type listing struct {
	filter
	Limit int  `default:"50" help:"How many to show at most."`
	All   bool `help:"Show all."`
}

// list requests the pages of a list and shows them; name is the member of the answer that holds the list.
func (c *listing) list(ctx context.Context, s *service, path, name string, columns []string) error {
	if c.Limit < 1 {
		return usage("--limit=%d: must be at least 1", c.Limit)
	}
	values, err := c.values()
	if err != nil {
		return err
	}
	if c.All {
		c.Limit = math.MaxInt
	}
	var elements []jsontext.Value
	for {
		values.Set("limit", strconv.Itoa(min(user.MaxLimit, c.Limit-len(elements))))
		found, next, err := s.page(ctx, path+"?"+values.Encode(), name)
		if err != nil {
			return err
		}
		elements = append(elements, found...)
		if next != "" && len(elements) < c.Limit && !values.Has("page") { // who asks for one page gets it
			values.Set("cursor", next)
			continue
		}
		if err := s.show(elements, columns); err != nil {
			return err
		}
		if next != "" {
			fmt.Fprintln(s.streams.err, "There are more: --limit or --all shows them.")
		}
		return nil
	}
}

// page requests one page of a list and returns its elements and the cursor of the next page, if there is one.
func (s *service) page(ctx context.Context, path, name string) (elements []jsontext.Value, next string, err error) {
	body, err := s.call(ctx, http.MethodGet, path, "", name)
	if err != nil {
		return nil, "", err
	}
	var members map[string]jsontext.Value
	var answer struct {
		Page struct {
			Next string `json:"next"`
		} `json:"page"`
	}
	if errors.Join(json.Unmarshal(body, &members), json.Unmarshal(members[name], &elements), json.Unmarshal(body, &answer)) != nil {
		return nil, "", errNotOurs
	}
	return elements, answer.Page.Next, nil
}

// showOne sends a request and shows the object that answers it.
func (s *service) showOne(ctx context.Context, method, path, body string, columns []string) error {
	answer, err := s.call(ctx, method, path, body, "id")
	if err != nil {
		return err
	}
	return s.showObject(answer, columns)
}

// showObject shows one object; as JSON, it is not in a list.
func (s *service) showObject(object jsontext.Value, columns []string) error {
	if s.output != "json" {
		return s.show([]jsontext.Value{object}, columns)
	}
	_ = object.Indent()
	_, err := fmt.Fprintln(s.streams.out, string(object))
	return err
}

// show writes elements in the output asked for; columns are dotted paths of members.
func (s *service) show(elements []jsontext.Value, columns []string) error {
	switch s.output {
	case "json":
		all, err := json.Marshal(elements, jsontext.PreserveRawStrings(true))
		if err != nil {
			return err
		}
		return s.showObject(all, nil)
	case "ndjson":
		for _, e := range elements {
			if _, err := fmt.Fprintln(s.streams.out, string(bytes.TrimSpace(e))); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		w := csv.NewWriter(s.streams.out)
		_ = w.Write(columns)
		for _, e := range elements {
			_ = w.Write(cells(e, columns, func(s string) string { return s }))
		}
		w.Flush()
		return w.Error()
	}
	w := tabwriter.NewWriter(s.streams.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(columns, "\t")))
	for _, e := range elements {
		fmt.Fprintln(w, strings.Join(cells(e, columns, printable), "\t"))
	}
	return w.Flush()
}

// cells returns the members of an object at dotted paths: strings as they are, nothing for null, else JSON.
func cells(element jsontext.Value, columns []string, clean func(string) string) []string {
	out := make([]string, len(columns))
	for i, column := range columns {
		value := element
		for name := range strings.SplitSeq(column, ".") {
			var members map[string]jsontext.Value
			_ = json.Unmarshal(value, &members) // no object has no such member
			value = members[name]
		}
		switch {
		case len(value) == 0 || value.Kind() == 'n':
		case value.Kind() == '"':
			text, _ := jsontext.AppendUnquote(nil, value)
			out[i] = clean(string(text))
		default:
			out[i] = clean(string(value))
		}
	}
	return out
}

// printable keeps a value on its line of a table, and from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '·'
		}
		return r
	}, s)
}
