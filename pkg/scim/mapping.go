package scim

import (
	"encoding/base32"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"aiadmin/pkg/user"
)

// maxKeptBytes bounds the encoded attributes that the product has no field for.
const maxKeptBytes = 16 << 10

// Change is what a SCIM request changes of a user: only the fields that differ.
type Change struct {
	user.Patch // a creation's has ID and Tag
	// AlternativeTag is for another attempt at a creation whose generated tag is taken. It is
	// empty when the client named the tag.
	AlternativeTag string
}

// Empty reports whether nothing changes.
func (c Change) Empty() bool { return reflect.DeepEqual(c, Change{}) }

// The paths of attributes that need treatment of their own.
var (
	rolePath   = own("role")
	modelsPath = own("models")
	accessPath = own("modelAccess")
	// hideable are fields that always have a value and are not shown once they are removed.
	hideable = []AttributePath{core("active"), own("tag"), rolePath, accessPath}
	// keptPaths are stored and given back as sent.
	keptPaths = keptAttributes()
)

func core(name string) AttributePath {
	return AttributePath{Attribute: find(userSchema.Attributes, name)}
}

func own(name string) AttributePath {
	return AttributePath{Extension: UserExtension, Attribute: find(UserExtension.Attributes, name)}
}

func keptAttributes() []AttributePath {
	var paths []AttributePath
	for _, a := range userSchema.Attributes {
		switch a.Name {
		case "userName", "displayName", "active", "groups": // have columns of their own
		default:
			paths = append(paths, AttributePath{Attribute: a})
		}
	}
	for _, a := range enterpriseUser.Attributes {
		paths = append(paths, AttributePath{Extension: enterpriseUser, Attribute: a})
	}
	return paths
}

// Create maps the resource of a POST to a new user with the given id.
func Create(resource Object, id uuid.UUID) (Change, error) {
	p := Profile{User: &user.User{ID: id, Role: user.Member, Status: user.Active}}
	c, err := p.assign(Object{}, resource, writtenBy(resource), false)
	if err != nil {
		return c, err
	}
	name := resource.text("userName")
	c.ID, c.UserName = user.Some(id), user.Some(&name)
	if !c.Tag.Set {
		var tag string
		tag, c.AlternativeTag = tagFor(name, id)
		c.Tag = user.Some(tag)
	}
	return c, nil
}

// Replace maps the resource of a PUT. Absent attributes are cleared, with two exceptions. active,
// tag, role and modelAccess stay, for they cannot be empty. The product's extension stays if all of
// it is absent: RFC 7644, section 3.5.1, lets a server keep attributes that the client does not
// know, and clearing them would lift limits and lock users out.
func (p Profile) Replace(resource Object) (Change, error) {
	before, written := p.Resource(""), writtenBy(resource)
	after, _ := clone(resource).(Object)
	if after[UserExtension.ID] == nil && before[UserExtension.ID] != nil {
		after[UserExtension.ID] = before[UserExtension.ID]
	}
	for _, path := range hideable {
		if after.at(path) == nil && before.at(path) != nil {
			after.put(path, before.at(path))
		}
	}
	return p.assign(before, after, written, false)
}

// Patch applies the request to the user as SCIM shows it. On an error nothing is changed.
func (p Profile) Patch(patch *Patch) (Change, error) {
	before := p.Resource("")
	after, written, err := patch.Apply(before)
	if err != nil {
		return Change{}, err
	}
	return p.assign(before, after, written, true)
}

// Kept says whether the attribute is stored and given back as sent.
func (p AttributePath) Kept() bool {
	return slices.Contains(keptPaths, AttributePath{p.Extension, p.Attribute, nil})
}

func writtenBy(resource Object) Written {
	written := Written{}
	for name, value := range resource {
		section, ok := value.(Object)
		if written[name] = true; ok && strings.Contains(name, ":") {
			for attribute := range section {
				written[name+":"+attribute] = true
			}
		}
	}
	return written
}

// assign compares the resource as shown with what it is to become. If explicit is set, an attribute
// that is gone was removed by name.
func (p Profile) assign(before, after Object, written Written, explicit bool) (Change, error) {
	var c Change
	extension, _ := after[UserExtension.ID].(Object)
	kept := p.keptAfter(before, after, explicit)
	email, tag := p.emailAfter(before, after, kept), p.Tag
	if s := user.FoldTag(extension.text("tag")); s != "" {
		tag = s
	}
	differs(&c.Tag, p.Tag, tag)
	differs(&c.Name, p.Name, p.nameAfter(before, after, kept, explicit))
	if differs(&c.Role, p.Role, p.roleAfter(after, written)); c.Role.Set {
		kept.put(rolePath, nil) // however it was written, it is shown again
	}
	differsOrNil(&c.Email, p.Email, email)
	differsOrNil(&c.ExternalID, p.ExternalID, optional(after.text("externalId")))
	if userName := after.text("userName"); userName != p.effectiveUserName(email, tag) {
		c.UserName = user.Some(&userName)
	}
	switch after["active"] {
	case true:
		differs(&c.Status, p.Status, user.Active)
	case false:
		differs(&c.Status, p.Status, user.Suspended)
	}
	if models := p.modelsAfter(extension, written); !slices.Equal(models, p.Models) || (models == nil) != (p.Models == nil) {
		c.Models = user.Some(models)
	}
	if err := p.limitsAfter(&c, extension); err != nil {
		return Change{}, err
	}
	encoded := kept.Append(nil)
	if len(encoded) > maxKeptBytes {
		return Change{}, Errorf(InvalidValue, "the attributes kept as sent have %d bytes together; at most %d are stored", len(encoded), maxKeptBytes)
	}
	if string(encoded) != string(p.kept().Append(nil)) {
		c.SCIM = user.Some(jsontext.Value(encoded))
	}
	return c, nil
}

func differs[T comparable](field *user.Optional[T], before, after T) {
	if before != after {
		*field = user.Some(after)
	}
}

func differsOrNil(field *user.Optional[*string], before, after *string) {
	if !reflect.DeepEqual(before, after) {
		*field = user.Some(after)
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// keptAfter returns the attributes to keep: those that differ from what was shown replace what was
// kept. So attributes that are only derived from other fields are never stored.
func (p Profile) keptAfter(before, after Object, explicit bool) Object {
	kept := p.kept()
	for _, path := range keptPaths {
		was, is := before.at(path), after.at(path)
		if reflect.DeepEqual(was, is) {
			continue
		}
		kept.put(path, clone(is))
		if is == nil && explicit && path.Attribute.Name == "name" {
			kept["name"] = nil
		}
	}
	for _, path := range hideable {
		was, is := before.at(path), after.at(path)
		switch {
		case is != nil:
			kept.put(path, nil)
		case was != nil:
			kept.set(path, nil) // removed, although its field keeps its value
		}
	}
	return kept
}

// nameAfter is displayName ?? name.formatted ?? "given family" ?? userName. It also records in kept
// what cannot be derived from the name: no displayName, or one that had to be cut.
func (p Profile) nameAfter(before, after, kept Object, explicit bool) string {
	displayName := after.text("displayName")
	name := productName(displayName, kept["name"], after.text("userName"))
	if displayName == "" && kept["name"] == nil { // none was ever sent: name.formatted shows the product's
		stays := after["name"] != nil
		if explicit {
			stays = p.Name != before["userName"]
		}
		if stays {
			name = p.Name
		}
	}
	switch displayName {
	case name:
		delete(kept, "displayName")
	case "":
		kept["displayName"] = nil
	default:
		kept["displayName"] = displayName
	}
	return name
}

func productName(displayName string, sent any, userName string) string {
	parts, _ := sent.(Object)
	for _, name := range []string{displayName, parts.text("formatted"), parts.text("givenName") + " " + parts.text("familyName"), userName} {
		if name = strings.TrimSpace(name); name != "" {
			return strings.TrimSpace(cut(name, 200))
		}
	}
	return ""
}

func cut(s string, runes int) string {
	n := 0
	for i := range s {
		if n == runes {
			return s[:i]
		}
		n++
	}
	return s
}

// emailAfter is the value of the primary entry, else of the first of type work, else of the first.
// Entries that can be derived from the address alone are not kept.
func (p Profile) emailAfter(before, after, kept Object) *string {
	email := p.Email
	if !reflect.DeepEqual(before["emails"], after["emails"]) {
		email = productEmail(listOf(after["emails"]))
	}
	if email != nil && reflect.DeepEqual(after["emails"], derivedEmails(*email)) {
		delete(kept, "emails")
	}
	return email
}

func productEmail(emails List) *string {
	isWork := func(element any) bool {
		object, _ := element.(Object)
		return strings.EqualFold(object.text("type"), "work")
	}
	isAny := func(any) bool { return true }
	for _, wanted := range []func(any) bool{isPrimary, isWork, isAny} {
		if i := slices.IndexFunc(emails, func(element any) bool {
			object, _ := element.(Object)
			return object.text("value") != "" && wanted(element)
		}); i >= 0 {
			return optional(emails[i].(Object).text("value")) //nolint:forcetypeassert // all three say so
		}
	}
	return nil
}

// roleAfter is the extension's role when the request writes it, else the highest known of the
// roles that it writes, else what it was.
func (p Profile) roleAfter(after Object, written Written) user.Role {
	extension, _ := after[UserExtension.ID].(Object)
	if role := extension.text("role"); role != "" && written[rolePath.String()] {
		return user.Role(role)
	}
	if written["roles"] {
		for _, name := range roleNames {
			if slices.ContainsFunc(listOf(after["roles"]), func(element any) bool {
				object, _ := element.(Object)
				return strings.EqualFold(object.text("value"), name)
			}) {
				return user.Role(name)
			}
		}
	}
	return p.Role
}

// modelsAfter is nil for all models. Writing models lists them, and removing them leaves an empty
// list: a removal does not widen access.
func (p Profile) modelsAfter(extension Object, written Written) []string {
	models := []string{}
	for _, element := range listOf(extension["models"]) {
		if model, ok := element.(string); ok {
			models = append(models, model)
		}
	}
	access := ""
	if written[accessPath.String()] {
		access = extension.text("modelAccess")
	}
	switch emptied := len(models) == 0 && len(p.Models) > 0; {
	case len(models) > 0 && written[modelsPath.String()], access == accessListed:
		return models
	case access == accessAll:
		return nil
	case emptied:
		return models
	}
	return p.Models
}

func (p Profile) limitsAfter(c *Change, extension Object) error {
	var patch user.LimitsPatch
	fields := map[string]func(*int64){
		"requestsPerMinute":  func(n *int64) { patch.RequestsPerMinute = user.Some(n) },
		"tokensPerMinute":    func(n *int64) { patch.TokensPerMinute = user.Some(n) },
		"monthlyBudgetCents": func(n *int64) { patch.MonthlyBudgetUSD = user.Some((*user.Cents)(n)) },
	}
	for name, before := range limitsOf(p.Limits) {
		var after *int64
		if n, ok := extension[name].(int64); ok {
			if after = &n; n < 0 {
				return Errorf(InvalidValue, "%s must be an integer from 0 to %d", name, user.MaxInteger)
			}
		}
		if !reflect.DeepEqual(before, after) {
			fields[name](after)
			c.Limits = user.Some(&patch)
		}
	}
	return nil
}

// tagFor makes a tag of a userName's local part, and another one in case that is taken.
func tagFor(userName string, id uuid.UUID) (tag, alternative string) {
	local, _, _ := strings.Cut(userName, "@")
	dashed := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		case unicode.Is(unicode.Mn, r):
			return -1
		}
		return '-'
	}, strings.ToLower(norm.NFKD.String(local)))
	tag = strings.Trim(cut(strings.Trim(dashed, "._-"), 55), "._-")
	if tag == "" {
		tag = "user"
	}
	suffix := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").EncodeToString(id[11:])
	return tag, tag + "-" + suffix[len(suffix)-4:]
}
