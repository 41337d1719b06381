package scim

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"aiadmin/pkg/user"
)

// Profile is a user as SCIM maps it. The user's SCIM field is an object of the attributes that are kept
// as sent, in the shape of the resource. A null there says that the client removed an attribute whose
// field always has a value (displayName, name, active, and the extension's tag, role and modelAccess):
// it is not shown until it is written again.
type Profile struct{ *user.User }

// Resource returns the user as SCIM shows it; base is the URL that /Users is below.
func (p Profile) Resource(base string) Object {
	resource := p.kept()
	removed := func(name string) bool { _, kept := resource[name]; return kept }
	if !removed("displayName") {
		resource["displayName"] = p.Name
	}
	if !removed("name") {
		resource["name"] = derivedName(p.Name)
	}
	if !removed("active") {
		resource["active"] = p.Status == user.Active
	}
	if resource["emails"] == nil && p.Email != nil {
		resource["emails"] = derivedEmails(*p.Email)
	}
	p.showExtension(resource)
	for _, name := range []string{"displayName", "name", "active"} {
		if resource[name] == nil {
			delete(resource, name)
		}
	}
	resource["id"], resource["userName"] = p.ID.String(), p.effectiveUserName(p.Email, p.Tag)
	if p.ExternalID != nil {
		resource["externalId"] = *p.ExternalID
	}
	if len(p.Groups) > 0 {
		groups := make([]Member, len(p.Groups))
		for i, g := range p.Groups {
			groups[i] = Member{g.ID, g.Name}
		}
		resource["groups"] = memberList(groups, Groups, base, "direct")
	}
	resource["meta"] = meta(Users, base, p.ID, p.Version, p.CreatedAt, p.UpdatedAt)
	schemas := List{userSchema.ID}
	for _, extension := range Users.Extensions {
		if resource[extension.ID] != nil {
			schemas = append(schemas, extension.ID)
		}
	}
	resource["schemas"] = schemas
	return resource
}

func (p Profile) showExtension(resource Object) {
	hidden, _ := resource[UserExtension.ID].(Object)
	extension := Object{}
	show := func(name string, value any) {
		if _, removed := hidden[name]; !removed {
			extension[name] = value
		}
	}
	show("tag", p.Tag)
	show("role", string(p.Role))
	if p.Models == nil {
		show("modelAccess", accessAll)
	} else {
		show("modelAccess", accessListed)
	}
	if len(p.Models) > 0 {
		models := make(List, len(p.Models))
		for i, model := range p.Models {
			models[i] = model
		}
		extension["models"] = models
	}
	for name, limit := range limitsOf(p.Limits) {
		if limit != nil {
			extension[name] = *limit
		}
	}
	if delete(resource, UserExtension.ID); len(extension) > 0 {
		resource[UserExtension.ID] = extension
	}
}

func limitsOf(l user.Limits) map[string]*int64 {
	return map[string]*int64{"requestsPerMinute": l.RequestsPerMinute, "tokensPerMinute": l.TokensPerMinute,
		"monthlyBudgetCents": (*int64)(l.MonthlyBudgetUSD)}
}

func (p Profile) effectiveUserName(email *string, tag string) string {
	switch {
	case p.UserName != nil:
		return *p.UserName
	case email != nil:
		return *email
	}
	return tag
}

// kept returns a fresh copy of the attributes kept as sent, with its nulls.
func (p Profile) kept() Object {
	if p.SCIM.Kind() != '{' {
		return Object{}
	}
	object, _ := stored(p.SCIM).(Object)
	return object
}

// meta returns the attribute meta (RFC 7643, section 3.1). The version is weak: groups may change
// without it.
func meta(t *ResourceType, base string, id uuid.UUID, version int64, created, updated time.Time) Object {
	return Object{"resourceType": t.Name, "created": user.FormatTime(created), "lastModified": user.FormatTime(updated),
		"location": base + t.Endpoint + "/" + id.String(), "version": `W/"` + strconv.FormatInt(version, 10) + `"`}
}

// derivedName returns the parts of a name that no client has sent. Okta needs both parts.
func derivedName(name string) Object {
	given, family, _ := strings.Cut(name, " ")
	if family = strings.TrimSpace(family); family == "" {
		family = name
	}
	return Object{"formatted": name, "givenName": given, "familyName": family}
}

func derivedEmails(address string) List {
	return List{Object{"value": address, "type": "work", "primary": true}}
}

// Reconcile returns what the SCIM field becomes when the native API changes the user to after: kept
// attributes follow the fields that they came from, and a removed attribute is shown again once its
// field is written.
func (p Profile) Reconcile(after *user.User) jsontext.Value {
	kept := p.kept()
	if after.Name != p.Name {
		delete(kept, "displayName")
		if name, ok := kept["name"].(Object); ok && name["formatted"] == p.Name {
			name["formatted"] = after.Name
		}
	}
	if emails, ok := kept["emails"].(List); ok && !reflect.DeepEqual(after.Email, p.Email) {
		kept.put(core("emails"), withEmail(emails, p.Email, after.Email))
	}
	for path, changed := range map[AttributePath]bool{core("active"): after.Status != p.Status, own("tag"): after.Tag != p.Tag,
		rolePath: after.Role != p.Role, accessPath: (after.Models == nil) != (p.Models == nil)} {
		if changed {
			kept.put(path, nil)
		}
	}
	return kept.Append(nil)
}

// withEmail puts the product's new address in the place of its former one. Where the list has it already, it is
// there once.
func withEmail(emails List, before, after *string) List {
	i := slices.IndexFunc(emails, func(element any) bool {
		object, ok := element.(Object)
		return ok && before != nil && object["value"] == *before
	})
	switch {
	case after == nil && i < 0:
		return emails
	case after == nil:
		return slices.Delete(emails, i, i+1)
	case i < 0:
		return append(derivedEmails(*after), emails...)
	}
	emails[i].(Object)["value"] = *after //nolint:forcetypeassert // IndexFunc says so
	return core("emails").Attribute.normalize(emails, false)
}
