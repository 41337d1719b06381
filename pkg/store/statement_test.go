package store_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/store"
	"aiadmin/test/pgtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMutationsAsTheyAreSent shows what a change of the code does to the statements, which
// the measurements of docs/performance.md are of.
func TestMutationsAsTheyAreSent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	texts := store.Statements()
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		fmt.Fprintf(&out, "-- %s\n%s;\n\n", name, texts[name])
	}
	path := filepath.Join("testdata", "mutations.sql")
	if *update {
		must(t, os.MkdirAll("testdata", 0o700))
		must(t, os.WriteFile(path, out.Bytes(), 0o600))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got; go test -update writes it anew):\n%s", diff)
	}
}

// TestStatementsUseEveryParameter: a number that is left out or too high is an error of the
// server at the first call, and only for the shape that has it.
func TestStatementsUseEveryParameter(t *testing.T) {
	t.Parallel()
	for name, text := range store.Statements() {
		used := map[int]bool{}
		for _, match := range regexp.MustCompile(`\$(\d+)`).FindAllStringSubmatch(text, -1) {
			n, err := strconv.Atoi(match[1])
			must(t, err)
			used[n] = true
		}
		for n := 1; n <= len(used); n++ {
			if !used[n] {
				t.Errorf("%s has %d parameters, and no $%d", name, len(used), n)
			}
		}
	}
}

// TestListingsArePrepared: pages of a listing without a filter share one text whatever is on
// them, and PostgreSQL plans it once for all.
func TestListingsArePrepared(t *testing.T) {
	t.Parallel()
	one := openOne(t, pgtest.Database(t))
	texts := map[string]bool{}
	last := ann(t, "ann")
	for _, limit := range []string{"30", "50", "49"} {
		first := parse(t, "limit="+limit)
		texts[one.ListingText(first)] = true
		last.CreatedAt = last.CreatedAt.Add(1)
		texts[one.ListingText(parse(t, "limit="+limit+"&cursor="+first.CursorAfter(last)))] = true
	}
	if len(texts) != 2 { // the first page's, and that of all behind a cursor
		t.Errorf("texts: %q", slices.Collect(maps.Keys(texts)))
	}
	for range 10 {
		_, err := one.List(t.Context(), parse(t, "count=none"))
		must(t, err)
	}
	var generic int
	must(t, one.DB().QueryRowContext(t.Context(), "SELECT coalesce(sum(generic_plans), 0) FROM pg_prepared_statements WHERE statement LIKE '%ORDER BY u.created_at DESC%'").Scan(&generic))
	if generic < 3 {
		t.Errorf("a plan was used again %d times of 10", generic)
	}
}
