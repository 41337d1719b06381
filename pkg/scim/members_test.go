package scim

import (
	"testing"

	"github.com/google/uuid"
)

// TestMembersByFilter: the filter of a removal may name the only type that members have.
func TestMembersByFilter(t *testing.T) {
	t.Parallel()
	for filter, ok := range map[string]bool{`value eq \"` + someID + `\"`: true, `type eq \"User\" and value eq \"` + someID + `\"`: true, `value eq \"` + someID + `\" and type eq \"user\"`: true,
		`type eq \"User\"`: false, `value ne \"` + someID + `\"`: false, `type eq \"User\" and display eq \"x\"`: false} {
		change, err := PatchGroup(uuid.New(), []byte(operations(`{"op":"remove","path":"members[`+filter+`]"}`)))
		if ok != (err == nil && len(change.Removed) == 1 && !change.ReplaceAll) {
			t.Errorf("%s: %+v, %v", filter, change, err)
		}
	}
}

// TestMembersWithoutValue: a member that names nobody is refused, and removed nobody. Dropped from its list, it
// would make an empty one, which means all.
func TestMembersWithoutValue(t *testing.T) {
	t.Parallel()
	group := uuid.MustParse(someID)
	patch := func(op, value string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"` + op + `","path":"members"` + value + `}]}`
	}
	nobodies := []string{`{}`, `{"value":null}`, `{"value":""}`, `{"display":"x"}`, `{"$ref":null,"value":null}`, `[{}]`, `[null]`, `[{"value":null}]`, `[{"value":""}]`, `[{"display":"x"}]`}
	for _, nobody := range nobodies {
		change, err := PatchGroup(group, []byte(patch("Remove", `,"value":`+nobody)))
		if err != nil || change.ReplaceAll || len(change.Removed) > 0 {
			t.Errorf("remove %s: %+v, %v", nobody, change, err)
		}
		for _, op := range []string{"add", "replace"} {
			if _, err := PatchGroup(group, []byte(patch(op, `,"value":`+nobody))); ErrorOf(err).Type != InvalidValue {
				t.Errorf("%s %s: %v", op, nobody, err)
			}
		}
	}
	for _, all := range []string{"", `,"value":null`, `,"value":""`} {
		if change, err := PatchGroup(group, []byte(patch("remove", all))); err != nil || !change.ReplaceAll {
			t.Errorf("remove with %q: %+v, %v", all, change, err)
		}
	}
}
