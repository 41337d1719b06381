package scim

import "github.com/google/uuid"

// Query asks for one page of the resources of a type that a filter finds (RFC 7644, section 3.4.2).
type Query struct {
	Filter     Filter // nil finds all
	SortBy     string // see [AttributePath.String]; the order of creation for any that is not sorted by
	Descending bool
	Start      int64  // of the first result wanted, from 1; ignored with After
	After      *Place // nil begins at Start
	Limit      int    // 0 counts alone
}

// Place is the place after one result. Its zero value is before the first.
type Place struct {
	Key  *string   `json:"k"` // the value sorted by
	ID   uuid.UUID `json:"i"`
	Seen int64     `json:"s"` // results up to the place
}

// Page is what a [Query] finds.
type Page[T any] struct {
	Found []T
	First int64 // the index of the first one, from 1
	Total int64 // of the whole filter; of a large one, as it was a moment ago
	Next  *Place
}
