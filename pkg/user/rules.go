package user

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	validation "github.com/go-ozzo/ozzo-validation/v4"

	"aiadmin/pkg/secret"
)

// Bounds of what a user holds.
const (
	maxModels      = 100
	maxCredentials = 100
	maxSecret      = 4096 // bytes
)

var (
	tagRules        = []validation.Rule{validation.Required, validation.By(tagFormat)}
	nameRules       = []validation.Rule{validation.Required, validation.RuneLength(1, 200), validation.By(oneVisibleLine)}
	emailRules      = []validation.Rule{validation.Required.ErrorObject(errEmail), validation.RuneLength(1, 254), validation.By(emailFormat)}
	userNameRules   = []validation.Rule{validation.Required.ErrorObject(errEmpty), validation.RuneLength(0, 255), validation.By(noControl)}
	roleRules       = []validation.Rule{validation.Required, validation.In(Admin, Member, Viewer, Service).Error("must be admin, member, viewer or service")}
	statusRules     = []validation.Rule{validation.Required, validation.In(Active, Suspended).Error("must be active or suspended")}
	modelRules      = []validation.Rule{validation.Required, validation.RuneLength(1, 128)}
	externalIDRules = []validation.Rule{validation.Required.ErrorObject(errEmpty), validation.RuneLength(0, 255)}
)

var (
	errEmpty   = validation.NewError(validation.ErrLengthOutOfRange.Code(), "must be 1 to 255 characters, or null for none")
	errControl = validation.NewError("validation_control_character", "must not contain control characters")
	errLine    = validation.NewError("validation_control_character", "must not contain control, bidirectional-control or line-separating characters")
	errUnseen  = validation.NewError("validation_not_visible", "must contain at least one visible character")
	errTag     = validation.ErrMatchInvalid.SetMessage("must be 1 to 63 of a-z 0-9 . _ - and start and end with a letter or digit")
)

// optional makes a rule for a value that may be null out of rules for one that is not.
func optional(rules ...validation.Rule) validation.Rule {
	return validation.By(func(value any) error {
		if s, _ := value.(*string); s != nil {
			return validation.Validate(*s, rules...)
		}
		return nil
	})
}

func noControl(value any) error {
	if s, _ := value.(string); strings.ContainsFunc(s, unicode.IsControl) {
		return errControl
	}
	return nil
}

func oneVisibleLine(value any) error {
	s, _ := value.(string)
	switch {
	case strings.ContainsFunc(s, breaksLines):
		return errLine
	case s != "" && !strings.ContainsFunc(s, isVisible):
		return errUnseen
	}
	return nil
}

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
	return len(name) >= 1 && len(name) <= 63 && !strings.ContainsFunc(name, notIn("-_"))
}

// notIn finds what is neither in a-z 0-9 nor in others.
func notIn(others string) func(rune) bool {
	return func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	}
}

// checkModels notes what a list of models breaks, by element.
func checkModels(problems *Problems, path string, models []string) {
	if len(models) > maxModels {
		problems.Add(path, validation.ErrLengthTooLong.Code(), "must have at most %d entries", maxModels)
		return
	}
	for i, model := range models {
		problems.check(indexed(path, i), model, modelRules...)
	}
}

func (c CredentialsPatch) check(problems *Problems) {
	for _, provider := range slices.Sorted(maps.Keys(c.Set)) {
		if n := c.Set[provider].Len(); IsProvider(provider) && (n < 1 || n > maxSecret) {
			problems.Add("credentials."+provider, validation.ErrLengthOutOfRange.Code(), "a secret must be 1 to %d bytes long", maxSecret)
		}
	}
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// hintOf is what a read shows of a secret: its last four characters, and nothing of one
// shorter than twelve, of which four would be too much.
func hintOf(s secret.Text) *string {
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
