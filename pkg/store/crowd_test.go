package store_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// crowded is a database with a crowd in it.
func crowded(t *testing.T, n int, seed uint64) ([]*user.User, string) {
	t.Helper()
	all, db := crowd(n, seed), pgtest.Database(t)
	load(t, db, n, func(i int) *user.User { return all[i] })
	return all, db
}

// crowd makes users in whom all that listings must tell apart comes up: ties in name and
// time, names that differ in case alone, absent addresses, patterns, paths with dots.
func crowd(n int, seed uint64) []*user.User {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a failure can be had again
	users := make([]*user.User, n)
	for i := range users {
		users[i] = someone(i, r)
	}
	return users
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func someone(i int, r *rand.Rand) *user.User {
	u := &user.User{ID: timedID(epoch, r), Tag: fmt.Sprintf("%s%s%d", pick(r, "a", "b", "ab", "z9"), pick(r, "", "-", "_", "."), i),
		Name: pick(r, "Ann", "ann", "ANN B", "Åsa", "åsa", "asa", "Asa", "Ünal", "José", "Jose\u0301", "Groß", "Παππάς", "50% off", "under_score", `back\slash`,
			"Bob\u00a0C", "日本", "東京都庁", "李小龍", "김철수", "-- (x) --", "sam ple"),
		Role: pick(r, user.Admin, user.Member, user.Viewer, user.Service), Status: pick(r, user.Active, user.Suspended),
		Version: 1, CreatedAt: epoch.Add(time.Duration(r.IntN(6)) * time.Hour), Metadata: []byte("{}")}
	u.UpdatedAt = u.CreatedAt
	if chance(r, 0.7) {
		email := fmt.Sprintf("%s%d@%s.example", pick(r, "Ann", "bob", "C", "Éva", "ada+ai"), i, pick(r, "x", "Y", "x.y", "münchen", "xn--mnchen-3ya"))
		u.Email = &email
	}
	if chance(r, 0.5) {
		external := fmt.Sprintf("E%d", i)
		u.ExternalID = &external
	}
	if chance(r, 0.3) {
		name := fmt.Sprintf("%s%d", pick(r, "Corp\\", "Straße ", "u"), i)
		u.UserName = &name
	}
	limit(u, r)
	u.Models = pick(r, nil, []string{}, []string{"gpt-5"}, []string{"gpt-*"}, []string{"*-mini", "o1"}, []string{"gpt-?"}, []string{"*"}, []string{"a_b"}, []string{"a%b", "x*y*"})
	for _, provider := range []string{"anthropic", "openai"} {
		if chance(r, 0.4) {
			u.Credentials = append(u.Credentials, user.Credential{Provider: provider, KeyID: "k1", UpdatedAt: u.UpdatedAt})
		}
	}
	u.Metadata = []byte(pick(r, `{}`, `{"team":"a"}`, `{"team":"b","x":{"y":"a"}}`, `{"x.y":"a"}`, `{"x":{"y":"a=b"}}`, `{"x":{"y=a":"b"}}`,
		`{"team":7}`, `{"team":7.0}`, `{"team":"7"}`, `{"team":[7e0,["b"]]}`, `{"team":true}`, `{"team":"true"}`, `{"team":"#true"}`, `{"x.y":{"z\\":"a"}}`,
		`{"team":["a"]}`, `{"team":[{"a":"a"}]}`, `{"team":{"a":"a"}}`, fmt.Sprintf(`{"team":%q}`, strings.Repeat("long", 60))))
	return u
}

func limit(u *user.User, r *rand.Rand) {
	some, cents := int64(5), user.Cents(7)
	if chance(r, 0.3) {
		u.Limits.RequestsPerMinute = &some
	}
	if chance(r, 0.3) {
		u.Limits.TokensPerMinute = &some
	}
	if chance(r, 0.3) {
		u.Limits.MonthlyBudgetUSD = &cents
	}
	if chance(r, 0.3) {
		at := u.CreatedAt.AddDate(1, 0, 0)
		u.ExpiresAt = &at
	}
	if chance(r, 0.2) {
		u.Keys = []user.Key{{ID: u.ID, Name: "k", Status: user.KeyActive, CreatedAt: u.CreatedAt}}
	}
}

// finds says whether a filter finds a user, in the most simple-minded way.
func finds(t testing.TB, f user.Filter, u *user.User) bool {
	t.Helper()
	among := func(given []string, value string) bool { return len(given) == 0 || slices.Contains(given, value) }
	optional := func(s *string) string {
		if s == nil {
			return "\x00"
		}
		return *s
	}
	var metadata map[string]any
	must(t, json.Unmarshal(u.Metadata, &metadata))
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, u.ID)) && among(f.Tags, u.Tag) &&
		among(f.Emails, user.FoldAddress(optional(u.Email))) && among(f.ExternalIDs, optional(u.ExternalID)) &&
		among(f.UserNames, user.FoldAddress(u.EffectiveUserName())) &&
		among(f.Roles, string(u.Role)) && among(f.Statuses, string(u.Status)) &&
		(f.Model == "" || u.Models == nil || slices.ContainsFunc(u.Models, func(glob string) bool { return matches(glob, f.Model) })) &&
		(f.Provider == "" || u.Credential(f.Provider) != nil) &&
		!slices.ContainsFunc(f.Metadata, func(m user.MetadataEqual) bool { return !at(metadata, m.Path, m.Value) }) &&
		!slices.ContainsFunc(f.Without, func(name string) bool { return has(u, name) }) &&
		(f.Search == "" || searched(f.Search, user.SearchForm(u.Tag), user.SearchForm(u.Name), user.SearchForm(optional(u.Email)),
			user.SearchForm(user.FoldAddress(optional(u.Email))))) &&
		(f.ExpiresBefore.IsZero() || u.ExpiresAt != nil && u.ExpiresAt.Before(f.ExpiresBefore)) &&
		(f.CreatedFrom.IsZero() || !u.CreatedAt.Before(f.CreatedFrom)) && (f.CreatedTo.IsZero() || u.CreatedAt.Before(f.CreatedTo))
}

func has(u *user.User, name string) bool {
	return map[string]bool{"email": u.Email != nil, "externalId": u.ExternalID != nil, "userName": u.UserName != nil, "models": u.Models != nil,
		"credentials": len(u.Credentials) > 0, "keys": len(u.Keys) > 0, "expiresAt": u.ExpiresAt != nil,
		"limits.requestsPerMinute": u.Limits.RequestsPerMinute != nil, "limits.tokensPerMinute": u.Limits.TokensPerMinute != nil,
		"limits.monthlyBudgetUSD": u.Limits.MonthlyBudgetUSD != nil}[name]
}

// matches says whether a glob stands for all of s.
func matches(glob, s string) bool {
	if glob == "" {
		return s == ""
	}
	if glob[0] == '*' {
		return matches(glob[1:], s) || s != "" && matches(glob, s[1:])
	}
	return s != "" && (glob[0] == '?' || glob[0] == s[0]) && matches(glob[1:], s[1:])
}

// at says whether a document has a value at a path, or in a list there.
func at(document any, path []string, want string) bool {
	switch v := document.(type) {
	case []any:
		return slices.ContainsFunc(v, func(element any) bool { return at(element, path, want) })
	case map[string]any:
		return len(path) > 0 && v[path[0]] != nil && at(v[path[0]], path[1:], want)
	case string:
		return len(path) == 0 && v == want
	case float64:
		number, err := strconv.ParseFloat(want, 64)
		return len(path) == 0 && err == nil && number == v
	case bool:
		return len(path) == 0 && strconv.FormatBool(v) == want
	default:
		return false
	}
}

func searched(text string, fields ...string) bool {
	runes := []rune(text)
	word := len(runes) == 2 && !slices.ContainsFunc(runes, func(r rune) bool {
		return !unicode.In(r, unicode.Han, unicode.Hangul, unicode.Katakana, unicode.Hiragana)
	})
	return slices.ContainsFunc(fields, func(field string) bool {
		if len(runes) < 3 && !word {
			return strings.HasPrefix(field, text)
		}
		return strings.Contains(field, text)
	})
}

// compare orders users as a listing does.
func compare(sort []user.SortKey) func(a, b *user.User) int {
	return func(a, b *user.User) int {
		for _, key := range sort {
			var order int
			switch key.Field {
			case "createdAt":
				order = a.CreatedAt.Compare(b.CreatedAt)
			case "tag":
				order = cmp.Compare(a.Tag, b.Tag)
			case "name":
				order = cmp.Or(cmp.Compare(user.SearchForm(a.Name), user.SearchForm(b.Name)), cmp.Compare(a.Name, b.Name))
			case "email":
				if a.Email == nil || b.Email == nil { // last in both directions
					order = cmp.Compare(btoi(a.Email == nil), btoi(b.Email == nil))
					if order != 0 {
						return order
					}
					continue
				}
				order = cmp.Compare(user.FoldAddress(*a.Email), user.FoldAddress(*b.Email))
			}
			if order != 0 {
				return directed(order, key.Descending)
			}
		}
		return directed(cmp.Compare(a.ID.String(), b.ID.String()), sort[len(sort)-1].Descending)
	}
}

func directed(order int, descending bool) int {
	if descending {
		return -order
	}
	return order
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// reference is what a query finds, in order.
func reference(t testing.TB, all []*user.User, q user.Query) []*user.User {
	t.Helper()
	var found []*user.User
	for _, u := range all {
		if finds(t, q.Filter, u) {
			found = append(found, u)
		}
	}
	slices.SortFunc(found, compare(q.Sort))
	return found
}

// conditions are parameters with values that find some of a crowd, and some that find none.
var conditions = map[string][]string{
	"role": {"admin", "member", "service"}, "status": {"active", "suspended"},
	"model":         {"gpt-5", "gpt-55", "gpt-5-mini", "o1", "a_b", "axb", "a%b", "x1y2", "*", "gpt-*"},
	"provider":      {"openai", "anthropic", "nobody"},
	"metadata.team": {"a", "b", "7", "7.00", "70e-1", "true", "#true", "#7e0", strings.Repeat("long", 60)}, "metadata.x.y": {"a", "a=b"},
	`metadata.x\.y`: {"a"}, `metadata.x\.y.z\\`: {"a"}, "metadata.team.a": {"a"}, "without": user.Absences,
	"expiresBefore": {"2025-01-01T03:00:00Z", "2020-01-01T00:00:00Z"},
	"q":             {"sample", "x.example", "a", "an", "ann", "å", "ås", "åsa", "0%", "50%", "_", "r_s", `\`, `k\s`, "@x", "日", "日本", "bob1", "example", "b\n", "nobody", "東京都", "京都", "小龍", "龍", "철수", "jose", "JOSÉ", "ÅSA", "gross", "GROß", "ΠΑΠΠΆΣ", "év", "eva", "münchen.e", "MNCHEN-3YA", "a+ai", "-- (", ") -", "---", "(x)"},
	"createdFrom":   {"2024-01-01T00:00:00Z", "2024-01-01T02:00:00Z", "2030-01-01T00:00:00Z"},
	"createdTo":     {"2024-01-01T03:00:00+00:00", "2024-01-01T05:00:00Z"},
}

// someConditions draws a filter.
func someConditions(r *rand.Rand, all []*user.User) map[string][]string {
	values := map[string][]string{}
	names := slices.Sorted(maps.Keys(conditions))
	for range r.IntN(4) {
		name := pick(r, names...)
		values[name] = append(values[name], pick(r, conditions[name]...))
		if name != "role" && name != "status" && name != "without" && !strings.HasPrefix(name, "metadata.") {
			values[name] = values[name][:1]
		}
	}
	if chance(r, 0.2) {
		for range 1 + r.IntN(3) {
			u := pick(r, all...)
			switch r.IntN(5) {
			case 4:
				if name := strings.ToUpper(u.EffectiveUserName()); !strings.Contains(name, " ") {
					values["userName"] = append(values["userName"], name)
				}
			case 0:
				values["tag"] = append(values["tag"], strings.ToUpper(u.Tag))
			case 1:
				values["id"] = append(values["id"], u.ID.String())
			case 2:
				if u.Email != nil {
					values["email"] = append(values["email"], strings.ToUpper(*u.Email))
				}
			case 3:
				if u.ExternalID != nil {
					values["externalId"] = append(values["externalId"], *u.ExternalID)
				}
			}
		}
	}
	return values
}
