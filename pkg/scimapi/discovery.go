package scimapi

import (
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/scim"
)

// answerDocument writes a document of discovery. Query parameters are ignored, a filter too.
func (x *exchange) answerDocument(document any) error {
	body, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		return err
	}
	write(x.w, http.StatusOK, body)
	return nil
}

// documents is a ListResponse of discovery.
type documents struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	ItemsPerPage int      `json:"itemsPerPage"`
	StartIndex   int      `json:"startIndex"`
	Resources    any      `json:"Resources"`
}

func listOf[T any](all []T) documents {
	return documents{[]string{scim.ListResponseURN}, len(all), len(all), 1, all}
}

func (x *exchange) serviceProviderConfig() error {
	return x.answerDocument(scim.Config(x.base, scim.Pagination{Cursor: true, Index: true, DefaultPaginationMethod: "index",
		DefaultPageSize: defaultPage, MaxPageSize: maxPage, CursorTimeout: int(cursorLifetime.Seconds())}))
}

func (x *exchange) resourceTypes() error {
	if x.segment == "" {
		return x.answerDocument(listOf(scim.ResourceTypeDocuments(x.base)))
	}
	for _, t := range scim.ResourceTypes {
		if strings.EqualFold(t.Name, x.segment) {
			return x.answerDocument(t.Document(x.base))
		}
	}
	return x.notFound("ResourceType")
}

func (x *exchange) schemas() error {
	if x.segment == "" {
		return x.answerDocument(listOf(scim.Schemas(x.base)))
	}
	document, ok := scim.FindSchema(x.base, x.segment)
	if !ok {
		return x.notFound("Schema")
	}
	return x.answerDocument(document)
}
