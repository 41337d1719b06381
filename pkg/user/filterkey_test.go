package user

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestEveryFieldOfAFilterIsInItsKey fails when a field is added that the key forgets: totals
// and cursors of different listings would be taken for each other's. That every field has a
// condition in SQL is a test of pkg/store.
func TestEveryFieldOfAFilterIsInItsKey(t *testing.T) {
	t.Parallel()
	values := map[reflect.Type]any{
		reflect.TypeFor[string]():          "a",
		reflect.TypeFor[[]string]():        []string{"a"},
		reflect.TypeFor[[]uuid.UUID]():     []uuid.UUID{someID},
		reflect.TypeFor[[]MetadataEqual](): []MetadataEqual{{Path: []string{"a"}, Value: "a"}},
		reflect.TypeFor[time.Time]():       someTime,
	}
	seen := map[[16]byte]string{}
	for _, field := range append(reflect.VisibleFields(reflect.TypeFor[Filter]()), reflect.StructField{Name: "none"}) {
		var f Filter
		if field.Type != nil {
			reflect.ValueOf(&f).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(values[field.Type]))
		}
		key := f.Key()
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have the same key", field.Name, other)
		}
		seen[key] = field.Name
	}
}
