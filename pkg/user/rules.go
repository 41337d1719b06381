package user

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	validation "github.com/go-ozzo/ozzo-validation/v4"

	"aiadmin/pkg/secret"
)

// maxCredentials bounds what a user holds; merging would otherwise grow without end.
const maxCredentials = 100

var (
	tagRules        = []validation.Rule{validation.Required, validation.By(tagFormat)}
	nameRules       = []validation.Rule{validation.Required, validation.RuneLength(1, 200), validation.By(noControl)}
	emailRules      = []validation.Rule{validation.Required.ErrorObject(errEmail), validation.RuneLength(1, 254), validation.By(emailFormat)}
	roleRules       = []validation.Rule{validation.Required, validation.In(Admin, Member, Viewer, Service).Error("must be admin, member, viewer or service")}
	statusRules     = []validation.Rule{validation.Required, validation.In(Active, Suspended).Error("must be active or suspended")}
	modelRules      = []validation.Rule{validation.Required, validation.RuneLength(1, 128)}
	externalIDRules = []validation.Rule{validation.RuneLength(0, 255)}
)

var errControl = validation.NewError("validation_control_character", "must not contain control characters")

func noControl(value any) error {
	if s, _ := value.(string); strings.ContainsFunc(s, unicode.IsControl) {
		return errControl
	}
	return nil
}

var errTag = validation.ErrMatchInvalid.SetMessage("must be 1 to 63 of a-z 0-9 . _ - and start and end with a letter or digit")

// tagFormat is no pattern: one with {0,61} in it takes long to compile, at every start.
func tagFormat(value any) error {
	s, _ := value.(string)
	if s != "" && (len(s) > 63 || strings.Trim(s, "._-") != s || strings.ContainsFunc(s, notIn("._-"))) {
		return errTag
	}
	return nil
}

// IsProvider says whether name could be a provider's.
func IsProvider(name string) bool {
	return len(name) >= 1 && len(name) <= 63 && !strings.ContainsFunc(name, notIn("-"))
}

// notIn finds what is neither in a-z 0-9 nor in others.
func notIn(others string) func(rune) bool {
	return func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	}
}

// validate notes every rule that a member of the patch breaks by itself; what depends on
// the user that it is applied to is Apply's to say.
func (p *Patch) validate(problems *Problems) {
	checkSet(problems, "tag", p.Tag, tagRules)
	checkSet(problems, "name", p.Name, nameRules)
	checkSet(problems, "role", p.Role, roleRules)
	checkSet(problems, "status", p.Status, statusRules)
	if p.Email.Value != nil {
		problems.check("email", *p.Email.Value, emailRules...)
	}
	if p.ExternalID.Value != nil {
		problems.check("externalId", *p.ExternalID.Value, externalIDRules...)
	}
	if len(p.Models.Value) > 100 {
		problems.Add("models", validation.ErrLengthTooLong.Code(), "must have at most 100 entries")
	} else {
		for i, model := range p.Models.Value {
			problems.check(indexed("models", i), model, modelRules...)
		}
	}
	p.Credentials.validate(problems)
}

func checkSet[T any](problems *Problems, field string, member Optional[T], rules []validation.Rule) {
	if member.Set {
		problems.check(field, member.Value, rules...)
	}
}

func (c CredentialsPatch) validate(problems *Problems) {
	for _, provider := range slices.Concat(sortedKeys(c.Set), c.Remove) {
		if !IsProvider(provider) {
			problems.Add("credentials."+provider, validation.ErrMatchInvalid.Code(), "a provider must be 1 to 63 of a-z 0-9 -")
		}
	}
	for _, provider := range sortedKeys(c.Set) {
		if n := c.Set[provider].Len(); n < 1 || n > 4096 {
			problems.Add("credentials."+provider, validation.ErrLengthOutOfRange.Code(), "a secret must be 1 to 4096 bytes long")
		}
	}
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func sortedKeys(m map[string]secret.Text) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Hint is what a read shows of a secret: its last four characters, and nothing of one
// shorter than twelve, of which four would be too much.
func Hint(s secret.Text) *string {
	runes := []rune(s.Reveal())
	if len(runes) < 12 {
		return nil
	}
	hint := string(runes[len(runes)-4:])
	return &hint
}

func requireSet[T any](problems *Problems, field string, member Optional[T]) {
	if !member.Set && !problems.has(field) {
		problems.Add(field, validation.ErrRequired.Code(), "%s", fmt.Sprint(validation.ErrRequired.Message()))
	}
}
