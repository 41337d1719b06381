package user

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// AppendKey appends what tells a filter from all that find other users: the same for the
// same values in whatever order they were given. Every page of a listing needs it twice.
func (f *Filter) AppendKey(dst []byte) []byte {
	ids := slices.SortedFunc(slices.Values(f.IDs), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = append(dst, id[:]...)
	}
	for _, values := range [][]string{f.Tags, f.Emails, f.Roles, f.Statuses, f.ExternalIDs} {
		dst = appendTexts(dst, slices.Sorted(slices.Values(values)))
	}
	dst = appendTexts(dst, []string{f.Model, f.Provider, f.Search})
	dst = binary.AppendUvarint(dst, uint64(len(f.Metadata)))
	for _, m := range slices.SortedFunc(slices.Values(f.Metadata), MetadataEqual.compare) {
		dst = appendTexts(appendTexts(dst, m.Path), []string{m.Value})
	}
	return appendMoment(appendMoment(dst, f.CreatedFrom), f.CreatedTo)
}

func (m MetadataEqual) compare(other MetadataEqual) int {
	return cmp.Or(slices.Compare(m.Path, other.Path), strings.Compare(m.Value, other.Value))
}

func appendTexts(dst []byte, texts []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(texts)))
	for _, text := range texts {
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	return dst
}

// appendMoment appends a time to the microsecond, which is as far as the database tells them apart.
func appendMoment(dst []byte, at time.Time) []byte {
	if at.IsZero() {
		return append(dst, 0)
	}
	return binary.AppendVarint(append(dst, 1), at.UnixMicro())
}
