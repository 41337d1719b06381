package console

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"aiadmin/pkg/access"
	"aiadmin/pkg/user"
)

// form holds the values of a user's form by field name, as they were typed.
type form map[string]string

// formFields are the fields of the form, in their order; limits have the API's paths.
var formFields = []string{"tag", "name", "email", "userName", "role", "status", "expiresAt", "externalId", "models",
	"limits.requestsPerMinute", "limits.tokensPerMinute", "limits.monthlyBudgetUSD", "metadata"}

// allModels is the checkbox that allows every model.
const allModels = "allModels"

// formOf returns the form filled in with a user.
func formOf(u *user.User) form {
	f := form{"tag": u.Tag, "name": u.Name, "email": deref(u.Email), "userName": deref(u.UserName), "role": string(u.Role), "status": string(u.Status),
		"externalId": deref(u.ExternalID), "models": strings.Join(u.Models, "\n"), "metadata": indented(u.Metadata)}
	if u.Models == nil {
		f[allModels] = "on"
	}
	if u.ExpiresAt != nil {
		f["expiresAt"] = user.FormatTime(*u.ExpiresAt)
	}
	if v := u.Limits.RequestsPerMinute; v != nil {
		f["limits.requestsPerMinute"] = strconv.FormatInt(*v, 10)
	}
	if v := u.Limits.TokensPerMinute; v != nil {
		f["limits.tokensPerMinute"] = strconv.FormatInt(*v, 10)
	}
	if v := u.Limits.MonthlyBudgetUSD; v != nil {
		f["limits.monthlyBudgetUSD"] = v.String()
	}
	return f
}

func indented(value []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, value, "", "  ") != nil {
		return string(value)
	}
	return out.String()
}

// readForm takes the fields that were sent. A browser sends line ends as CRLF.
func readForm(values url.Values) form {
	f := form{}
	for _, name := range append([]string{allModels}, formFields...) {
		f[name] = strings.ReplaceAll(values.Get(name), "\r\n", "\n")
	}
	return f
}

// take sets the fields for which somebody chose the other version. It reports whether one was chosen for each field
// that both had changed.
func (f form) take(values url.Values, theirs form) (all bool) {
	all = true
	for _, name := range formFields {
		choice := values.Get("choose." + name)
		if choice == "theirs" {
			f[name] = theirs[name]
			if name == "models" {
				f[allModels] = theirs[allModels]
			}
		}
		all = all && (choice != "" || !slices.Contains(values["both"], name))
	}
	return all
}

func (f form) encode() string {
	text, _ := json.Marshal(f) // strings alone: it cannot fail
	return string(text)
}

func decodeForm(text string) (f form, ok bool) {
	err := json.Unmarshal([]byte(text), &f)
	return f, err == nil && f != nil
}

// shown returns a field's value for people.
func (f form) shown(name string) string {
	switch {
	case name == "models" && f[allModels] != "":
		return text("models.all")
	case name == "models":
		return strings.Join(f.models(), "\n")
	default:
		return f[name]
	}
}

// A browser drops line breaks from a text field, and writes each of a text area as \n.
var (
	inTextField = strings.NewReplacer("\r", "", "\n", "")
	inTextArea  = strings.NewReplacer("\r\n", "\n", "\r", "\n")
)

// browsed returns the form as a browser sends it when nobody has touched it.
func (f form) browsed() form {
	sent := form{}
	for name, value := range f {
		if name == "models" || name == "metadata" {
			sent[name] = inTextArea.Replace(value)
		} else {
			sent[name] = inTextField.Replace(value)
		}
	}
	return sent
}

// changes returns the fields whose values differ from before. The browser's own changes do not count.
func (f form) changes(was form) (names []string) {
	f, was = f.browsed(), was.browsed()
	for _, name := range formFields {
		if f.shown(name) != was.shown(name) || name == "models" && (f[allModels] == "") != (was[allModels] == "") {
			names = append(names, name)
		}
	}
	return names
}

// models returns the patterns, which stand one on a line.
func (f form) models() []string {
	list := []string{}
	for line := range strings.SplitSeq(f["models"], "\n") {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// value returns a field's value as the API takes it. An invalid number is sent as typed, so that the API
// says what is wrong.
func (f form) value(name string) any {
	typed := strings.TrimSpace(f[name])
	switch {
	case name == "models" && f[allModels] != "":
		return nil
	case name == "models":
		return f.models()
	case name == "name" || name == "tag" || name == "role" || name == "status":
		return f[name]
	case typed == "":
		return nil
	case name == "expiresAt":
		return asEnd(typed)
	case strings.HasPrefix(name, "limits.") && json.Valid([]byte(typed)):
		return json.RawMessage(typed)
	default:
		return typed
	}
}

// asTime is a date, or a time without seconds or zone, as the API takes it: in UTC. Anything else stays as it is.
func asTime(typed string) string {
	typed = strings.TrimSpace(typed)
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.DateTime} {
		if at, err := time.Parse(layout, typed); err == nil {
			return user.FormatTime(at)
		}
	}
	return typed
}

// asEnd is like asTime, but a date is the last day: the end is the next midnight.
func asEnd(typed string) string {
	if day, err := time.Parse(time.DateOnly, strings.TrimSpace(typed)); err == nil {
		end := day.AddDate(0, 0, 1)
		if end.Year() > 9999 { // which no time as RFC 3339 has
			end = end.Add(-time.Second)
		}
		return user.FormatTime(end)
	}
	return asTime(typed)
}

// patch returns a merge patch of the fields given, for a user as it is, and what is wrong with metadata, which the
// patch then leaves out.
func (f form) patch(fields []string, u *user.User) (body []byte, problems user.Problems) {
	patch, limits := map[string]any{}, map[string]any{}
	for _, name := range fields {
		switch limit, isLimit := strings.CutPrefix(name, "limits."); {
		case isLimit:
			limits[limit] = f.value(name)
			patch["limits"] = limits
		case name == "metadata":
			change, problem := f.metadata(u.Metadata)
			if problem != nil {
				problems = append(problems, *problem)
				continue
			}
			patch[name] = change
		default:
			patch[name] = f.value(name)
		}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		panic(err) // text, numbers and JSON that was parsed always encode
	}
	return body, problems
}

// create returns the body of a creation: fields that are not filled in are left out.
func (f form) create() ([]byte, user.Problems) {
	var fields []string
	for _, name := range formFields {
		if name == "tag" || name == "name" || name == "models" || strings.TrimSpace(f[name]) != "" {
			fields = append(fields, name)
		}
	}
	return f.patch(fields, &user.User{Metadata: []byte("{}")})
}

// metadata returns the merge patch (RFC 7396) from the stored metadata to what was typed.
func (f form) metadata(stored []byte) (map[string]any, *user.Problem) {
	typed := strings.TrimSpace(f["metadata"])
	if typed == "" {
		typed = "{}"
	}
	value, err := user.ParseBody([]byte(typed))
	if err != nil {
		message := strings.Replace(user.Public(err).Message, "the body", "metadata", 1)
		return nil, &user.Problem{Field: "metadata", Code: "validation_format", Message: message}
	}
	var before, after map[string]json.RawMessage
	_ = json.Unmarshal(value, &after)   // an object, as ParseBody saw to it
	_ = json.Unmarshal(stored, &before) // the service's own
	return mergeDifference(before, after), nil
}

// mergeDifference returns the merge patch from one object to another: removed members are null, and
// objects in both are patched member by member.
func mergeDifference(before, after map[string]json.RawMessage) map[string]any {
	patch := map[string]any{}
	for name, value := range after {
		var old, now map[string]json.RawMessage
		if isObject(before[name]) && isObject(value) && json.Unmarshal(before[name], &old) == nil && json.Unmarshal(value, &now) == nil {
			patch[name] = mergeDifference(old, now)
		} else {
			patch[name] = value
		}
	}
	for name := range before {
		if _, kept := after[name]; !kept {
			patch[name] = nil
		}
	}
	return patch
}

func isObject(value json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimSpace(value), []byte("{"))
}

// modelsView shows a list of models as chips, and which of them match a name.
type modelsView struct {
	All   bool
	Chips []modelChip
	More  int    // patterns that are not shown
	Name  string // that was asked for
	Match bool
}

// maxModelChips is more patterns than a user may have: a form may have many more.
const maxModelChips = 200

type modelChip struct {
	Pattern string
	Match   bool
}

func viewModels(f form, name string) modelsView {
	v := modelsView{All: f[allModels] != "", Name: strings.TrimSpace(name)}
	v.Match = v.All
	if v.All {
		return v
	}
	for _, pattern := range f.models() {
		match := v.Name != "" && access.Match(pattern, v.Name)
		if v.Match = v.Match || match; len(v.Chips) == maxModelChips {
			v.More++
			continue
		}
		v.Chips = append(v.Chips, modelChip{pattern, match})
	}
	return v
}

// trimmed returns the patterns of a key's field: none when it is empty, which allows all of the user's
// models.
func trimmed(typed string) []string {
	list := form{"models": strings.ReplaceAll(typed, "\r\n", "\n")}.models()
	return slices.Clip(list)
}
