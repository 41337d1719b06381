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

// Change is what a SCIM request changes of a user: the fields that differ, and no others.
type Change struct {
	user.Patch // a creation's has ID and Tag
	UserName   user.Optional[*string]
	SCIM       user.Optional[jsontext.Value]
	// AlternativeTag is for another attempt at a creation whose generated tag is taken. It is
	// empty when the client named the tag.
	AlternativeTag string
}

// Empty says whether nothing changes.
func (c Change) Empty() bool { return reflect.DeepEqual(c, Change{}) }

// The paths of attributes that the mapping treats each in its own way.
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
	return AttributePath{Attribute: find(UserSchema.Attributes, name)}
}

func own(name string) AttributePath {
	return AttributePath{Extension: UserExtension, Attribute: find(UserExtension.Attributes, name)}
}

func keptAttributes() []AttributePath {
	var paths []AttributePath
	for _, a := range UserSchema.Attributes {
		switch a.Name {
		case "userName", "displayName", "active", "groups": // have columns of their own
		default:
			paths = append(paths, AttributePath{Attribute: a})
		}
	}
	for _, a := range EnterpriseUser.Attributes {
		paths = append(paths, AttributePath{Extension: EnterpriseUser, Attribute: a})
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

// Replace maps the resource of a PUT. What is absent is cleared, but: active, tag, role and
// modelAccess stay, for they cannot be empty, and so does the product's extension when all of it
// is absent. RFC 7644, section 3.5.1, lets a server keep what the client does not know of, and to
// clear it would lift limits and lock users out.
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

// Patch applies the request to the user as it is shown. An error leaves nothing changed.
func (p Profile) Patch(patch *Patch) (Change, error) {
	before := p.Resource("")
	after, written, err := patch.Apply(before)
	if err != nil {
		return Change{}, err
	}
	return p.assign(before, after, written, true)
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

// assign compares what is shown with what it shall become. With explicit, an attribute that is no
// longer there was removed by name.
func (p Profile) assign(before, after Object, written Written, explicit bool) (Change, error) {
	var c Change
	extension, _ := after[UserExtension.ID].(Object)
	email, tag := p.Email, p.Tag
	if !reflect.DeepEqual(before["emails"], after["emails"]) {
		email = productEmail(after)
	}
	if s := user.FoldTag(extension.text("tag")); s != "" {
		tag = s
	}
	kept := p.keptAfter(before, after, explicit)
	name := productName(after, kept)
	if after.text("displayName") == "" && kept["name"] == nil {
		// No name was ever sent. The product's stays while name.formatted shows it, unless it is
		// but the former userName.
		if explicit && p.Name != before["userName"] || !explicit && after["name"] != nil {
			name = p.Name
		}
	}
	kept.keepDisplayName(after.text("displayName"), name)
	if email != nil && reflect.DeepEqual(after["emails"], derivedEmails(*email)) {
		delete(kept, "emails")
	}
	differs(&c.Name, p.Name, name)
	differs(&c.Tag, p.Tag, tag)
	differsOrNil(&c.Email, p.Email, email)
	differsOrNil(&c.ExternalID, p.ExternalID, optional(after.text("externalId")))
	if userName := after.text("userName"); userName != p.effectiveUserName(email, tag) {
		c.UserName = user.Some(&userName)
	}
	if active, ok := after["active"].(bool); ok {
		differs(&c.Status, p.Status, map[bool]user.Status{true: user.Active, false: user.Suspended}[active])
	}
	differs(&c.Role, p.Role, p.roleAfter(after, written))
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

// keptAfter returns the attributes to keep: those that differ from what was shown replace what
// was kept. What is only derived from other fields is thus never stored.
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
		case was != nil && explicit:
			kept.hide(path)
		}
	}
	return kept
}

// hide notes that an attribute was removed, although its field keeps its value.
func (o Object) hide(path AttributePath) {
	section := o.section(path)
	if section == nil {
		section = Object{}
		o[path.Extension.ID] = section
	}
	section[path.Attribute.Name] = nil
}

// keepDisplayName keeps what the name cannot give back: none at all, or one that had to be cut.
func (o Object) keepDisplayName(displayName, name string) {
	switch displayName {
	case name:
		delete(o, "displayName")
	case "":
		o["displayName"] = nil
	default:
		o["displayName"] = displayName
	}
}

// productName is displayName ?? name.formatted ?? "given family" ?? userName. A name that was
// never sent is not asked: it comes from the product's name itself.
func productName(after, kept Object) string {
	sent, _ := kept["name"].(Object)
	for _, name := range []string{after.text("displayName"), sent.text("formatted"),
		sent.text("givenName") + " " + sent.text("familyName"), after.text("userName")} {
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

// productEmail is the primary address, else the one of type work, else the first.
func productEmail(resource Object) *string {
	emails := listOf(resource["emails"])
	if i := productEntry(emails); i >= 0 {
		return optional(emails[i].(Object).text("value")) //nolint:forcetypeassert // productEntry says so
	}
	return nil
}

func productEntry(emails List) int {
	isWork := func(element any) bool {
		object, _ := element.(Object)
		return strings.EqualFold(object.text("type"), "work")
	}
	isAny := func(element any) bool { _, ok := element.(Object); return ok }
	for _, wanted := range []func(any) bool{isPrimary, isWork, isAny} {
		if i := slices.IndexFunc(emails, wanted); i >= 0 {
			return i
		}
	}
	return -1
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

// modelsAfter is nil for all models. Writing models lists them, and removing them leaves a list
// of none: access is not widened by a removal.
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
	switch {
	case len(models) > 0 && written[modelsPath.String()], access == accessListed:
		return models
	case access == accessAll:
		return nil
	case len(p.Models) > 0 && len(models) == 0:
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
				return Errorf(InvalidValue, "%s must be an integer from 0 to %d", name, maxInteger)
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
