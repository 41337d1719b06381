package store_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// roleSettings are what an administrator may have set for a role or a database, as sets that can be tried at once.
var roleSettings = map[string][]string{
	"text, one": {"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "backslash_quote = off", "escape_string_warning = off",
		"bytea_output = 'escape'", "array_nulls = off", "transform_null_equals = on", "quote_all_identifiers = on"},
	"text, two":         {"client_encoding = 'SQL_ASCII'", "default_text_search_config = 'simple'", "xmloption = 'document'", "client_min_messages = 'debug1'"},
	"text, three":       {"client_encoding = 'EUC_JP'", "lc_time = 'C'", "lc_numeric = 'C'", "lc_monetary = 'C'", "lc_messages = 'C'"},
	"times, one":        {"DateStyle = 'German'", "TimeZone = 'Asia/Kathmandu'", "IntervalStyle = 'sql_standard'", "extra_float_digits = -15"},
	"times, two":        {"DateStyle = 'SQL, DMY'", "TimeZone = 'America/St_Johns'", "IntervalStyle = 'iso_8601'", "timezone_abbreviations = 'India'"},
	"times, three":      {"DateStyle = 'Postgres'", "TimeZone = 'posix/UTC'", "IntervalStyle = 'postgres_verbose'", "extra_float_digits = 3"},
	"names, one":        {"search_path = 'elsewhere'", "row_security = off", "check_function_bodies = off"},
	"names, two":        {"search_path = 'pg_catalog'", "default_toast_compression = 'pglz'", "default_statistics_target = 1"},
	"transactions, one": {"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on", "synchronous_commit = off"},
	"transactions, two": {"default_transaction_isolation = 'repeatable read'", "synchronous_commit = local"},
	"timeouts": {"statement_timeout = '10ms'", "lock_timeout = '1ms'", "idle_in_transaction_session_timeout = '1ms'", "idle_session_timeout = '1s'",
		"deadlock_timeout = '1ms'"},
	"plans, one": {"enable_indexscan = off", "enable_bitmapscan = off", "enable_nestloop = off", "enable_hashjoin = off", "enable_sort = off",
		"plan_cache_mode = 'force_generic_plan'", "gin_fuzzy_search_limit = 1", "jit = on", "work_mem = '64kB'"},
	"plans, two": {"plan_cache_mode = 'force_custom_plan'", "from_collapse_limit = 1", "geqo_threshold = 2", "cursor_tuple_fraction = 0.01",
		"max_parallel_workers_per_gather = 8", "temp_buffers = '800kB'"},
}

// TestSettingsOfARoleChangeNothing migrates a database, and writes and reads a user and events there,
// under each setting, made for the database and for the role: all is as without it.
func TestSettingsOfARoleChangeNothing(t *testing.T) {
	t.Parallel()
	u := ann(t, "ann", func(u *user.User) { u.Name = `Zoë "\ 李小龍 🔑 'x` })
	admin := pgtest.Empty(t)
	want := written(t, admin, u)
	for name, settings := range roleSettings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			as := mustURL(t, pgtest.Empty(t))
			role := "role_" + as.Path[1:]
			must(t, pgtest.Exec(t.Context(), admin, "CREATE ROLE "+role+" LOGIN SUPERUSER PASSWORD 'p'"))
			for _, setting := range settings {
				must(t, pgtest.Exec(t.Context(), admin, "ALTER ROLE "+role+" SET "+setting))
				must(t, pgtest.Exec(t.Context(), admin, "ALTER DATABASE "+as.Path[1:]+" SET "+setting))
			}
			as.User = url.UserPassword(role, "p")
			if diff := cmp.Diff(want, written(t, as.String(), u)); diff != "" {
				t.Errorf("without and with it (-want +got):\n%s", diff)
			}
		})
	}
}

// written migrates a database and tells what becomes of a user there.
func written(t *testing.T, db string, u *user.User) []string {
	t.Helper()
	s := open(t, db)
	_, err := s.Migrate(t.Context(), nil)
	must(t, err)
	insert(t, s, u)
	_, err = change(t.Context(), s, u.ID, func(u *user.User) { u.Status, u.UpdatedAt = user.Active, morning.Add(time.Hour) })
	must(t, err)
	read, err := s.Get(t.Context(), user.Ref{Email: u.EmailKey})
	must(t, err)
	out := []string{text(t, read)}
	for _, listing := range []string{"q=小龍", "provider=openai&sort=name", "model=gpt-5-mini", "metadata.x.n=1.5", "createdFrom=2026-01-31T08:00:00.123456Z&createdTo=2026-01-31T08:00:00.123457Z"} {
		page, err := s.List(t.Context(), parse(t, listing+"&count=exact"))
		must(t, err)
		out = append(out, listing, text(t, page.Users), text(t, page.Total))
	}
	entries, _, err := s.History(t.Context(), u.ID, 1<<62, 10)
	must(t, err)
	for _, e := range entries {
		e.Event.ID = u.ID
		out = append(out, text(t, e.Event))
	}
	return out
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	must(t, err)
	return string(out)
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(text)
	must(t, err)
	return parsed
}

// TestOtherEncodingsAreRefused has databases with an unusual encoding or collation.
func TestOtherEncodingsAreRefused(t *testing.T) {
	t.Parallel()
	for options, refused := range map[string]string{
		"ENCODING 'LATIN1' LOCALE 'C'": "LATIN1", "ENCODING 'EUC_JP' LOCALE 'C'": "EUC_JP", "ENCODING 'SQL_ASCII' LOCALE 'C'": "SQL_ASCII",
		"ENCODING 'UTF8' LOCALE 'C'": "", "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C.utf8'": "",
		"ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'und-u-ks-level1' LOCALE 'C.utf8'": "",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			s := open(t, pgtest.Made(t, options))
			_, err := s.Migrate(t.Context(), nil)
			if refused == "" {
				must(t, err)
				insert(t, s, ann(t, "istanbul", func(u *user.User) { u.Name = "İSTANBUL ılık" }))
				for _, listing := range []string{"tag=ISTANBUL", "email=ISTANBUL@x.example", "q=istanbul", "sort=name&q=STAN"} {
					if page, err := s.List(t.Context(), parse(t, listing)); err != nil || len(page.Users) != 1 {
						t.Errorf("%s finds %d users, %v", listing, len(page.Users), err)
					}
				}
				return
			}
			for what, err := range map[string]error{"migrating": err, "readiness": s.Ping(t.Context())} {
				if user.KindOf(err) != user.Unavailable || !strings.Contains(err.Error(), "encoding is "+refused+", and must be UTF8") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestRefusedSettingsLeaveWhatWorks reconnects by wrong settings: connections that work are kept, and
// what PostgreSQL says is passed on.
func TestRefusedSettingsLeaveWhatWorks(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	s := open(t, db)
	insert(t, s, ann(t, "ann"))
	session := func() (pid int) {
		must(t, s.DB().QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid))
		return pid
	}
	before := session()
	for want, change := range map[string]func(*url.URL){
		"password authentication failed": func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") },
		"does not exist":                 func(u *url.URL) { u.Path = "/nowhere" },
		"the database does not answer":   func(u *url.URL) { u.Host = "127.0.0.1:1" },
	} {
		wrong := mustURL(t, db)
		change(wrong)
		if err := s.Reconnect(t.Context(), wrong.String()); err == nil || !strings.Contains(err.Error()+store.Refusal(err), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if after := session(); after != before {
		t.Errorf("session %d was given up for %d", before, after)
	}
}
