package scim

import "strings"

// The documents of discovery (RFC 7644, section 4). Each encodes as JSON by its tags.
type (
	// SchemaDocument describes a schema (RFC 7643, section 7).
	SchemaDocument struct {
		Schemas     []string     `json:"schemas"`
		ID          string       `json:"id"`
		Name        string       `json:"name"`
		Description string       `json:"description"`
		Attributes  []*Attribute `json:"attributes"`
		Meta        DocumentMeta `json:"meta"`
	}
	// ResourceTypeDocument describes a resource type (RFC 7643, section 6).
	ResourceTypeDocument struct {
		Schemas          []string          `json:"schemas"`
		ID               string            `json:"id"`
		Name             string            `json:"name"`
		Endpoint         string            `json:"endpoint"`
		Description      string            `json:"description"`
		Schema           string            `json:"schema"`
		SchemaExtensions []SchemaExtension `json:"schemaExtensions,omitempty"`
		Meta             DocumentMeta      `json:"meta"`
	}
	// SchemaExtension names an extension of a resource type. None is required.
	SchemaExtension struct {
		Schema   string `json:"schema"`
		Required bool   `json:"required"`
	}
	// DocumentMeta is the meta attribute of a document.
	DocumentMeta struct {
		ResourceType string `json:"resourceType"`
		Location     string `json:"location"`
	}
	// ServiceProviderConfig says what the service can do (RFC 7643, section 5, and RFC 9865, section 4).
	ServiceProviderConfig struct {
		Schemas               []string               `json:"schemas"`
		Patch                 Supported              `json:"patch"`
		Bulk                  BulkSupport            `json:"bulk"`
		Filter                FilterSupport          `json:"filter"`
		ChangePassword        Supported              `json:"changePassword"`
		Sort                  Supported              `json:"sort"`
		ETag                  Supported              `json:"etag"`
		Pagination            Pagination             `json:"pagination"`
		AuthenticationSchemes []AuthenticationScheme `json:"authenticationSchemes"`
		Meta                  DocumentMeta           `json:"meta"`
	}
	// Supported says whether there is a feature.
	Supported struct {
		Supported bool `json:"supported"`
	}
	// BulkSupport says whether there is /Bulk, and its bounds in operations and bytes.
	BulkSupport struct {
		Supported      bool `json:"supported"`
		MaxOperations  int  `json:"maxOperations"`
		MaxPayloadSize int  `json:"maxPayloadSize"`
	}
	// FilterSupport says whether there are filters, and how many resources one answer has.
	FilterSupport struct {
		Supported  bool `json:"supported"`
		MaxResults int  `json:"maxResults"`
	}
	// Pagination says how lists are paged (RFC 9865, section 4). CursorTimeout is in seconds; 0
	// says that cursors do not expire.
	Pagination struct {
		Cursor                  bool   `json:"cursor"`
		Index                   bool   `json:"index"`
		DefaultPaginationMethod string `json:"defaultPaginationMethod"`
		DefaultPageSize         int    `json:"defaultPageSize"`
		MaxPageSize             int    `json:"maxPageSize"`
		CursorTimeout           int    `json:"cursorTimeout,omitzero"`
	}
	// AuthenticationScheme is a way to authenticate.
	AuthenticationScheme struct {
		Type        string `json:"type"`
		Name        string `json:"name"`
		Description string `json:"description"`
		SpecURI     string `json:"specUri"`
		Primary     bool   `json:"primary"`
	}
)

// Schemas returns the document of every schema that a resource may have, each once. base is the
// URL that /Schemas is below.
func Schemas(base string) []SchemaDocument {
	var documents []SchemaDocument
	for _, t := range ResourceTypes {
		for _, s := range t.schemas() {
			documents = append(documents, SchemaDocument{Schemas: []string{schemaURN}, ID: s.ID, Name: s.Name, Description: s.Description,
				Attributes: s.Attributes, Meta: DocumentMeta{"Schema", base + "/Schemas/" + s.ID}})
		}
	}
	return documents
}

// FindSchema returns the document of the schema with a URN, in any case.
func FindSchema(base, urn string) (SchemaDocument, bool) {
	for _, document := range Schemas(base) {
		if strings.EqualFold(document.ID, urn) {
			return document, true
		}
	}
	return SchemaDocument{}, false
}

// ResourceTypeDocuments returns the document of every resource type.
func ResourceTypeDocuments(base string) []ResourceTypeDocument {
	documents := make([]ResourceTypeDocument, len(ResourceTypes))
	for i, t := range ResourceTypes {
		documents[i] = t.Document(base)
	}
	return documents
}

// Document returns the resource type's document; base is the URL that /ResourceTypes is below.
func (t *ResourceType) Document(base string) ResourceTypeDocument {
	d := ResourceTypeDocument{Schemas: []string{resourceTypeURN}, ID: t.Name, Name: t.Name, Endpoint: t.Endpoint,
		Description: t.Description, Schema: t.Schema.ID, Meta: DocumentMeta{"ResourceType", base + "/ResourceTypes/" + t.Name}}
	for _, extension := range t.Extensions {
		d.SchemaExtensions = append(d.SchemaExtensions, SchemaExtension{Schema: extension.ID})
	}
	return d
}

// Config returns the service provider's configuration; pages are bounded as paging says.
func Config(base string, paging Pagination) ServiceProviderConfig {
	return ServiceProviderConfig{
		Schemas: []string{serviceProviderConfigURN},
		Patch:   Supported{true}, Sort: Supported{true}, ETag: Supported{true},
		Filter: FilterSupport{Supported: true, MaxResults: paging.MaxPageSize}, Pagination: paging,
		AuthenticationSchemes: []AuthenticationScheme{{Type: "oauthbearertoken", Name: "OAuth Bearer Token",
			Description: "A token of the service or of its OpenID Connect issuer, with the scope scim",
			SpecURI:     "https://www.rfc-editor.org/info/rfc6750", Primary: true}},
		Meta: DocumentMeta{"ServiceProviderConfig", base + "/ServiceProviderConfig"},
	}
}
