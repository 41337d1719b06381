package admin_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

var annID, heldID = uuid.UUID{15: 1}, uuid.UUID{15: 9}

// meanwhile has a batch take hold of ann, a command find her and wait for her, and only then the batch
// commit. It returns what came of the command, alone and as a batch of one, and of the users.
func meanwhile(t *testing.T, command user.Command, batch ...user.Command) (alone, batched []string) {
	t.Helper()
	for _, carryOut := range []func(*admin.Service) string{
		func(s *admin.Service) string { return word(s.Apply(t.Context(), command)) },
		func(s *admin.Service) string { return applyAll(t, s, command)[0] },
	} {
		alone, batched = batched, carriedOutMeanwhile(t, carryOut, batch)
	}
	return alone, batched
}

func carriedOutMeanwhile(t *testing.T, carryOut func(*admin.Service) string, batch []user.Command) []string {
	t.Helper()
	url := pgtest.Database(t)
	one, db := running(t, url)
	two, _ := running(t, url)
	_, holder := running(t, url)
	apply(t, one, once(create(t, "", fmt.Sprintf(`{"id":%q,"tag":"ann","name":"Ann"}`, annID))))
	apply(t, one, once(create(t, "", fmt.Sprintf(`{"id":%q,"tag":"held","name":"N"}`, heldID))))
	batch = append(batch, once(update(t, "", user.Ref{ID: heldID}, `{"name":"M"}`)))
	waiting := func(n int) {
		for lockWaits(t, db) < n {
			runtime.Gosched()
		}
	}
	var all sync.WaitGroup
	var got string
	err := hold(t, holder, user.Ref{ID: heldID}, func() error {
		all.Go(func() { applyAll(t, two, batch...) })
		waiting(1)
		all.Go(func() { got = carryOut(one) })
		waiting(2)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	all.Wait()
	var users []string
	if err := db.DB().NewRaw(`SELECT right(id::text, 1) || ' ' || tag || ' ' || status FROM users WHERE tag <> 'held' ORDER BY created_at`).Scan(t.Context(), &users); err != nil {
		t.Fatal(err)
	}
	return append([]string{got}, users...)
}

// TestOthersAreNotTakenForWhoWasNamed: who is renamed, or deleted and made again, while a change by tag
// or id waits is not the one that the change names any more; who is named now is.
func TestOthersAreNotTakenForWhoWasNamed(t *testing.T) {
	t.Parallel()
	byID, byTag, byBoth := user.Ref{ID: annID}, user.Ref{Tag: "ann"}, user.Ref{ID: annID, Tag: "ann"}
	rename := once(update(t, "", byID, `{"tag":"bob"}`))
	madeAgain := []user.Command{once(remove("", byID)), once(create(t, "", fmt.Sprintf(`{"id":%q,"tag":"zed","name":"Zed"}`, annID)))}
	const other = "00000000-0000-0000-0000-000000000002"
	takeOver := once(create(t, "", `{"id":"`+other+`","tag":"ann","name":"New"}`))
	suspend := func(ref user.Ref, tag string) user.Command {
		return once(update(t, "", ref, `{`+tag+`"status":"suspended"}`))
	}
	const ann = `"tag":"ann",`
	for name, test := range map[string]struct {
		command user.Command
		batch   []user.Command
		want    []string // the kind of error, or none; and the users
	}{
		"delete by tag, renamed":                     {once(remove("", byTag)), []user.Command{rename}, []string{"NOT_FOUND", "1 bob active"}},
		"delete by tag, claimed, renamed":            {remove("d", byTag), []user.Command{rename}, []string{"NOT_FOUND", "1 bob active"}},
		"delete by both, renamed":                    {once(remove("", byBoth)), []user.Command{rename}, []string{"VALIDATION_ERROR", "1 bob active"}},
		"delete by tag, taken over":                  {once(remove("", byTag)), []user.Command{rename, takeOver}, []string{"", "1 bob active"}},
		"delete by tag, made again as another":       {once(remove("", byTag)), madeAgain, []string{"NOT_FOUND", "1 zed active"}},
		"delete by both, made again as another":      {once(remove("", byBoth)), madeAgain, []string{"VALIDATION_ERROR", "1 zed active"}},
		"delete by id, made again":                   {once(remove("", byID)), madeAgain, []string{""}},
		"update by tag, renamed":                     {suspend(byTag, ""), []user.Command{rename}, []string{"NOT_FOUND", "1 bob active"}},
		"update by tag that is in the body, renamed": {suspend(byTag, ann), []user.Command{rename}, []string{"NOT_FOUND", "1 bob active"}},
		"update by tag, taken over":                  {suspend(byTag, ann), []user.Command{rename, takeOver}, []string{"", "1 bob active", "2 ann suspended"}},
		"update by tag, made again as another":       {suspend(byTag, ann), madeAgain, []string{"NOT_FOUND", "1 zed active"}},
		"update by tag, made again under another id": {suspend(byTag, ann), []user.Command{once(remove("", byID)), takeOver}, []string{"", "2 ann suspended"}},
		"delete by tag, made again under another id": {once(remove("", byTag)), []user.Command{once(remove("", byID)), takeOver}, []string{""}},
		"update by id, made again":                   {suspend(byID, ""), madeAgain, []string{"", "1 zed suspended"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alone, batched := meanwhile(t, test.command, test.batch...)
			for how, got := range map[string][]string{"alone": alone, "in a batch": batched} {
				if test.want[0] == "" && len(got[0]) > 0 && got[0][0] == 'a' { // ai.admin.user.…: it was done
					got[0] = ""
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
		})
	}
}

// TestTheAnswerShowsTheCredential that was asked for, although the secrets and what is said of them
// are read apart.
func TestTheAnswerShowsTheCredential(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	one, _ := running(t, url)
	two, _ := running(t, url)
	apply(t, one, once(create(t, "", fmt.Sprintf(`{"id":%q,"tag":"ann","name":"Ann"}`, annID))))
	together(4, func(n int) {
		s := []*admin.Service{one, two}[n%2]
		for i := range 150 {
			hint := []string{"0000", "1111"}[(i+n)%2]
			outcome, err := s.Apply(t.Context(), once(update(t, "", user.Ref{ID: annID}, fmt.Sprintf(`{"credentials":{"openai":"sk-aaaaaaaaaaaaaaaa-%s"}}`, hint))))
			if err != nil {
				t.Error(err)
			} else if c := outcome.User.Credential("openai"); c == nil || *c.Hint != hint {
				t.Errorf("set …%s, answered %v at version %d", hint, *c.Hint, outcome.User.Version)
			}
		}
	})
}
