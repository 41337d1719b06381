package scim

import (
	"slices"
	"strings"

	"aiadmin/pkg/user"
)

// The URNs of messages (RFC 7644, section 8.2) and of discovery's documents (RFC 7643, section 10.4).
const (
	ErrorURN                 = "urn:ietf:params:scim:api:messages:2.0:Error"
	ListResponseURN          = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	SearchRequestURN         = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
	PatchOpURN               = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	schemaURN                = "urn:ietf:params:scim:schemas:core:2.0:Schema"
	resourceTypeURN          = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	serviceProviderConfigURN = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
)

// DataType is an attribute's type (RFC 7643, section 2.3). There is no decimal and no binary:
// identity providers do not offer the one, and the product stores none of the other.
type DataType string

// The data types.
const (
	String    DataType = "string"
	Boolean   DataType = "boolean"
	Integer   DataType = "integer"
	DateTime  DataType = "dateTime"
	Reference DataType = "reference"
	Complex   DataType = "complex"
)

// The characteristics that are words (RFC 7643, section 7).
const (
	readOnly  = "readOnly"
	readWrite = "readWrite"
	immutable = "immutable"
	byDefault = "default"
	onRequest = "request"
	always    = "always"
	none      = "none"
	server    = "server"
)

// Attribute describes an attribute or a sub-attribute. It encodes as in RFC 7643, section 7.
type Attribute struct {
	Name            string       `json:"name"`
	Type            DataType     `json:"type"`
	MultiValued     bool         `json:"multiValued"`
	Description     string       `json:"description"`
	Required        bool         `json:"required"`
	CanonicalValues []string     `json:"canonicalValues,omitempty"`
	CaseExact       bool         `json:"caseExact"`
	Mutability      string       `json:"mutability"`
	Returned        string       `json:"returned"`
	Uniqueness      string       `json:"uniqueness"`
	ReferenceTypes  []string     `json:"referenceTypes,omitempty"`
	SubAttributes   []*Attribute `json:"subAttributes,omitempty"`

	closed    bool // only canonical values are taken
	address   bool // compared as an e-mail address: see [user.FoldAddress]
	maxValues int  // of a multi-valued attribute
}

// fold returns the form in which values of the attribute are compared.
func (a *Attribute) fold(s string) string {
	switch {
	case a.CaseExact:
		return s
	case a.address:
		return user.FoldAddress(s)
	}
	return user.Fold(s)
}

// sub returns the sub-attribute of a name, ignoring case, or nil.
func (a *Attribute) sub(name string) *Attribute { return find(a.SubAttributes, name) }

func find(attributes []*Attribute, name string) *Attribute {
	for _, a := range attributes {
		if strings.EqualFold(a.Name, name) {
			return a
		}
	}
	return nil
}

// canonical returns the canonical value that s is, ignoring case.
func (a *Attribute) canonical(s string) (string, bool) {
	i := slices.IndexFunc(a.CanonicalValues, func(c string) bool { return strings.EqualFold(c, s) })
	if i < 0 {
		return "", false
	}
	return a.CanonicalValues[i], true
}

// Schema is a set of attributes under a URN.
type Schema struct {
	ID          string
	Name        string
	Description string
	Attributes  []*Attribute
}

// ResourceType is a kind of resource, with its endpoint and schemas (RFC 7643, section 6).
type ResourceType struct {
	Name        string // also its id
	Endpoint    string // below the base URL, with a slash before it
	Description string
	Schema      *Schema
	Extensions  []*Schema
	MaxBytes    int // of a body
	// unpublished are attributes of the RFC that are taken and not stored.
	unpublished []string
}

// ResourceTypes are all that the service has.
var ResourceTypes = []*ResourceType{Users, Groups}

// Users is the type of users.
var Users = &ResourceType{Name: "User", Endpoint: "/Users", Description: "A user account",
	Schema: userSchema, Extensions: []*Schema{enterpriseUser, UserExtension}, MaxBytes: 1 << 20,
	unpublished: []string{"ims", "photos", "entitlements", "x509Certificates", "password"}}

// Groups is the type of groups.
var Groups = &ResourceType{Name: "Group", Endpoint: "/Groups", Description: "A group of users",
	Schema: GroupSchema, MaxBytes: 8 << 20}

// common are the attributes that every resource has and no schema lists (RFC 7643, section 3.1).
var common = []*Attribute{
	multi(text("schemas", "The URNs of the schemas in use").exact().only(readOnly).given(always)),
	text("id", "The identifier made by the service").exact().only(readOnly).given(always).unique(),
	text("externalId", "The identifier made by the provisioning client").exact().unique(),
	complexOf("meta", "Data about the resource",
		text("resourceType", "The name of the resource type").exact(),
		typed("created", DateTime, "When it was made"),
		typed("lastModified", DateTime, "When it was last changed"),
		typed("location", Reference, "Its URL").refersTo("uri"),
		text("version", "Its entity tag").exact(),
	).only(readOnly),
}

// userSchema is the core schema of users (RFC 7643, section 4.1), without what is not stored.
var userSchema = &Schema{ID: "urn:ietf:params:scim:schemas:core:2.0:User", Name: "User", Description: "User Account", Attributes: []*Attribute{
	text("userName", "What the identity provider calls the user; unique").must().unique().asAddress(),
	complexOf("name", "The parts of the user's name",
		text("formatted", "The full name, for display"),
		text("familyName", "The family name"),
		text("givenName", "The given name"),
		text("middleName", "The middle names"),
		text("honorificPrefix", "A title before the name"),
		text("honorificSuffix", "A suffix after the name"),
	),
	text("displayName", "The name shown to people"),
	text("nickName", "A casual name"),
	typed("profileUrl", Reference, "The URL of the user's profile").refersTo("external"),
	text("title", "The user's title"),
	text("userType", "How the organization relates to the user"),
	text("preferredLanguage", "The user's language, as in an Accept-Language header"),
	text("locale", "The user's locale, for dates, numbers and currencies"),
	text("timezone", "The user's time zone, such as Europe/Berlin"),
	typed("active", Boolean, "False suspends the user"),
	multi(complexOf("emails", "E-mail addresses; the product uses the primary one, else the work one, else the first",
		plural(text("value", "The address").asAddress(), "work", "home", "other")...)).atMost(20),
	multi(complexOf("phoneNumbers", "Phone numbers",
		plural(text("value", "The number"), "work", "home", "mobile", "fax", "pager", "other")...)),
	multi(complexOf("addresses", "Postal addresses",
		text("formatted", "The full address, for display or a label"),
		text("streetAddress", "The street, number and apartment"),
		text("locality", "The city"),
		text("region", "The state or region"),
		text("postalCode", "The postal code"),
		text("country", "The country, as in ISO 3166-1 alpha-2"),
		text("type", "What the address is for").oneOf("work", "home", "other"),
		typed("primary", Boolean, "True for the preferred address; at most one"),
	)),
	multi(complexOf("groups", "The groups that the user is a member of",
		text("value", "The group's id").exact().only(readOnly),
		typed("$ref", Reference, "The group's URL").refersTo("Group").only(readOnly),
		text("display", "The group's displayName").only(readOnly),
		text("type", "How the user is a member").oneOf("direct").only(readOnly),
	)).only(readOnly),
	multi(complexOf("roles", "Roles of the user; the highest known one counts, unless the extension's role is given",
		plural(text("value", "The role").oneOf(roleNames...))...)),
}}

// roleNames are the roles, highest first.
var roleNames = []string{"admin", "member", "viewer", "service"}

// enterpriseUser is the enterprise extension (RFC 7643, section 4.3).
var enterpriseUser = &Schema{ID: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", Name: "EnterpriseUser", Description: "Enterprise User", Attributes: []*Attribute{
	text("employeeNumber", "The organization's number for the user"),
	text("costCenter", "The cost center"),
	text("organization", "The organization"),
	text("division", "The division"),
	text("department", "The department"),
	complexOf("manager", "The user's manager, who need not be a user of this service",
		text("value", "The manager's id").exact(),
		typed("$ref", Reference, "The manager's URL").refersTo("User"),
		text("displayName", "The manager's name").only(readOnly),
	),
}}

// UserExtension has the product's attributes of users that the RFC lacks. Its attributes are flat
// and its amounts integers, as identity providers map nothing else.
var UserExtension = &Schema{ID: "urn:ietf:params:scim:schemas:extension:ai-admin:2.0:User", Name: "AIAdminUser", Description: "AI administration", Attributes: []*Attribute{
	text("tag", "A short unique name: 1 to 63 of a-z 0-9 . _ -").unique(),
	text("role", "What the user may do").oneOf(roleNames...).closedSet(),
	multi(text("models", "Names or globs of the models that the user may use, when modelAccess is listed").exact()),
	text("modelAccess", "Whether the user may use all models or those listed").oneOf(accessAll, accessListed).closedSet(),
	typed("requestsPerMinute", Integer, "The most requests a minute; unlimited when absent"),
	typed("tokensPerMinute", Integer, "The most tokens a minute; unlimited when absent"),
	typed("monthlyBudgetCents", Integer, "The most that the user may spend a month, in US cents; unlimited when absent"),
}}

// The values of modelAccess.
const (
	accessAll    = "all"
	accessListed = "listed"
)

// GroupSchema is the core schema of groups (RFC 7643, section 4.2).
var GroupSchema = &Schema{ID: "urn:ietf:params:scim:schemas:core:2.0:Group", Name: "Group", Description: "Group", Attributes: []*Attribute{
	text("displayName", "The group's name; unique").must().unique(),
	multi(complexOf("members", "The users in the group",
		text("value", "The user's id").exact().only(immutable),
		typed("$ref", Reference, "The user's URL").refersTo("User").only(immutable),
		text("type", "The kind of member").oneOf("User").only(immutable),
		text("display", "The user's displayName").only(readOnly).given(onRequest),
	)).atMost(maxMembers),
}}

func typed(name string, t DataType, description string) *Attribute {
	return &Attribute{Name: name, Type: t, Description: description, CaseExact: t == Reference,
		Mutability: readWrite, Returned: byDefault, Uniqueness: none}
}

func text(name, description string) *Attribute { return typed(name, String, description) }

func complexOf(name, description string, subs ...*Attribute) *Attribute {
	a := typed(name, Complex, description)
	a.SubAttributes = subs
	return a
}

// plural returns the usual sub-attributes of a multi-valued attribute (RFC 7643, section 2.4).
func plural(value *Attribute, types ...string) []*Attribute {
	return []*Attribute{value,
		text("display", "The value, for display"),
		text("type", "What the value is for").oneOf(types...),
		typed("primary", Boolean, "True for the preferred value; at most one"),
	}
}

func multi(a *Attribute) *Attribute {
	a.MultiValued, a.maxValues = true, 100
	return a
}

func (a *Attribute) must() *Attribute                    { a.Required = true; return a }
func (a *Attribute) exact() *Attribute                   { a.CaseExact = true; return a }
func (a *Attribute) unique() *Attribute                  { a.Uniqueness = server; return a }
func (a *Attribute) only(mutability string) *Attribute   { a.Mutability = mutability; return a }
func (a *Attribute) given(returned string) *Attribute    { a.Returned = returned; return a }
func (a *Attribute) oneOf(values ...string) *Attribute   { a.CanonicalValues = values; return a }
func (a *Attribute) asAddress() *Attribute               { a.address = true; return a }
func (a *Attribute) closedSet() *Attribute               { a.closed = true; return a }
func (a *Attribute) refersTo(types ...string) *Attribute { a.ReferenceTypes = types; return a }
func (a *Attribute) atMost(values int) *Attribute        { a.maxValues = values; return a }

// AttributePath names an attribute, or a sub-attribute, of a resource.
type AttributePath struct {
	Extension *Schema    // nil for core and common attributes
	Attribute *Attribute // nil for an extension as a whole
	Sub       *Attribute // nil for the attribute itself
}

// String returns the path as published: userName, name.givenName, or an extension's URN, a colon
// and the attribute. Core attributes have no URN. It is a stable key for a switch.
func (p AttributePath) String() string {
	var name string
	switch {
	case p == AttributePath{}:
		return ""
	case p.Attribute == nil:
		return p.Extension.ID
	case p.Extension != nil:
		name = p.Extension.ID + ":" + p.Attribute.Name
	default:
		name = p.Attribute.Name
	}
	if p.Sub != nil {
		name += "." + p.Sub.Name
	}
	return name
}

// leaf returns the attribute that the path's values belong to: the sub-attribute, or else the
// attribute.
func (p AttributePath) leaf() *Attribute {
	if p.Sub != nil {
		return p.Sub
	}
	return p.Attribute
}

// mutability says whether a client may write the path.
func (p AttributePath) mutability() string {
	if p.Attribute.Mutability == readOnly {
		return readOnly
	}
	return p.leaf().Mutability
}

// ParseAttribute finds the attribute that a name means (RFC 7644, section 3.10), ignoring case:
// attr, attr.sub, URN:attr, URN:attr.sub, or the URN of an extension alone. The URN of the core
// schema alone is the zero path.
func (t *ResourceType) ParseAttribute(name string) (AttributePath, bool) {
	var path AttributePath
	attributes := t.Schema.Attributes
	if schema, rest := t.cutURN(name); schema != nil {
		name = rest
		if schema != t.Schema {
			path.Extension, attributes = schema, schema.Attributes
		}
		if name == "" {
			return path, true
		}
	}
	name, sub, dotted := strings.Cut(name, ".")
	if path.Attribute = find(attributes, name); path.Attribute == nil && path.Extension == nil {
		path.Attribute = find(common, name)
	}
	if path.Attribute == nil {
		return path, false
	}
	if dotted {
		path.Sub = path.Attribute.sub(sub)
	}
	return path, !dotted || path.Sub != nil
}

// cutURN splits a name into the schema whose URN it begins with and what follows it.
func (t *ResourceType) cutURN(name string) (*Schema, string) {
	if !strings.Contains(name, ":") {
		return nil, name
	}
	for _, schema := range t.schemas() {
		switch n := len(schema.ID); {
		case len(name) < n || !strings.EqualFold(name[:n], schema.ID):
		case len(name) == n:
			return schema, ""
		case (name[n] == ':' || name[n] == '.') && len(name) > n+1: // a dot is what some clients of Microsoft's send
			return schema, name[n+1:]
		}
	}
	return nil, name
}

// schemas returns the core schema and the extensions.
func (t *ResourceType) schemas() []*Schema { return append([]*Schema{t.Schema}, t.Extensions...) }

// isUnpublished reports whether a name or path begins with an attribute that is accepted and
// dropped.
func (t *ResourceType) isUnpublished(name string) bool {
	if schema, rest := t.cutURN(name); schema == t.Schema {
		name = rest
	}
	if i := strings.IndexAny(name, ".["); i >= 0 {
		name = name[:i]
	}
	return slices.ContainsFunc(t.unpublished, func(u string) bool { return strings.EqualFold(u, name) })
}
