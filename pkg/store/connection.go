package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"aiadmin/pkg/user"
)

const (
	connectTimeout = 5 * time.Second // of a single host
	hostTimeout    = 2 * time.Second // of each of several hosts
	trialTimeout   = 10 * time.Second
)

// baseSettings are what every connection sets, whatever its role or its database have set. They are
// statements, not startup parameters, since poolers refuse those. synchronous_commit is never lowered: an
// administrator's stricter value stays. default_transaction_read_only is not set either: providers turn
// it on when a disk is full, and changes are then refused as unavailable.
var baseSettings = [][2]string{
	{"statement_timeout", "0"}, // first, since it would end the others
	{"client_encoding", "'UTF8'"}, {"standard_conforming_strings", "on"}, {"bytea_output", "hex"}, {"array_nulls", "on"},
	{"DateStyle", "'ISO, MDY'"}, {"IntervalStyle", "postgres"}, {"TimeZone", "'UTC'"}, {"timezone_abbreviations", "'Default'"},
	{"extra_float_digits", "1"}, {"transform_null_equals", "off"}, {"quote_all_identifiers", "off"},
	{"search_path", `"$user", public`}, {"row_security", "on"}, {"gin_fuzzy_search_limit", "0"},
	{"default_transaction_isolation", "'read committed'"}, {"default_transaction_deferrable", "off"},
	{"lock_timeout", "0"}, {"idle_in_transaction_session_timeout", "0"}, {"client_min_messages", "warning"},
	{"plan_cache_mode", "auto"}, {"enable_indexscan", "on"}, {"enable_indexonlyscan", "on"}, {"enable_bitmapscan", "on"},
	{"enable_nestloop", "on"}, {"enable_hashjoin", "on"}, {"enable_mergejoin", "on"}, {"enable_sort", "on"}, {"enable_hashagg", "on"},
	{"enable_material", "on"},
}

// laterSettings are base settings that came with a major version of PostgreSQL.
var laterSettings = []struct {
	major int
	name  string
}{{14, "idle_session_timeout"}, {17, "transaction_timeout"}}

// requestSettings are for connections that serve requests. Listings are bounded, so a sequential scan or
// compiling a plan never pays, but the planner sometimes chooses them in the hope of an early match. Page
// costs are those of memory, where a table of users belongs. With the defaults, the planner reads the
// index of a common value to avoid fetching the users of a rare one. ai_admin.forms says that this
// revision writes comparison and search forms.
const requestSettings = `SET enable_seqscan = off; SET jit = off; SET random_page_cost = 0.2; SET seq_page_cost = 0.2;
	SET ai_admin.forms = '1'; SET lock_timeout = `

// durable makes commits wait until they survive a crash and a failover.
const durable = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local'); "

// baseStatements returns the statements that set the base settings and ask for the session's process
// id. A search path in the connection string stays.
func baseStatements(conn *pgconn.PgConn, named map[string]string) string {
	var out strings.Builder
	for _, s := range baseSettings {
		if s[0] == "search_path" && (named["search_path"] != "" || strings.Contains(named["options"], "search_path")) {
			continue
		}
		out.WriteString("SET " + s[0] + " = " + s[1] + "; ")
	}
	var major int
	_, _ = fmt.Sscanf(conn.ParameterStatus("server_version"), "%d", &major)
	for _, s := range laterSettings {
		if major >= s.major {
			out.WriteString("SET " + s.name + " = 0; ")
		}
	}
	return out.String() + durable + "SELECT pg_backend_pid()"
}

func errEncoding(encoding string) error {
	return user.Errorf(user.Unavailable, "the database's encoding is %s, and must be UTF8: make a database with ENCODING 'UTF8' and move the data there", encoding)
}

var errPooled = user.Errorf(user.Unavailable, "the database connection goes through a pooler that gives each transaction another session: "+
	"connect to PostgreSQL itself, or set the pooler to session mode (pool_mode = session in PgBouncer)")

// settleBase prepares a new connection, and refuses an unsuitable database or pooler.
func (s *Store) settleBase(ctx context.Context, conn *pgx.Conn) error {
	pg := conn.PgConn()
	if encoding := pg.ParameterStatus("server_encoding"); encoding != "" && encoding != "UTF8" {
		return errEncoding(encoding)
	}
	session, err := sessionOf(ctx, pg, baseStatements(pg, conn.Config().RuntimeParams))
	if err != nil {
		return err
	}
	s.hosts.worked(pg.Conn().RemoteAddr())
	if session == strconv.FormatUint(uint64(pg.PID()), 10) {
		return nil // no pooler in between: poolers make up process ids
	}
	return s.checkPooler(ctx, conn, session)
}

func (s *Store) settle(ctx context.Context, conn *pgx.Conn) error {
	if err := s.settleBase(ctx, conn); err != nil {
		return err
	}
	_, err := conn.PgConn().Exec(ctx, fmt.Sprint(requestSettings, s.patience.Milliseconds())).ReadAll()
	return err
}

// sessionOf runs statements, of which the last asks for the session's process id.
func sessionOf(ctx context.Context, conn *pgconn.PgConn, statements string) (string, error) {
	results, err := conn.Exec(ctx, statements).ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[len(results)-1].Rows[0][0]), nil
}

// checkPooler opens a second connection while the first is idle. A pooler in transaction mode gives
// it the session that the first has just used, which it cannot get in session mode. A pooler without
// a second session to give has assigned the first for good.
func (s *Store) checkPooler(ctx context.Context, first *pgx.Conn, session string) error {
	verdict := s.config.Load()
	if s.sessions.Load() == verdict {
		return nil
	}
	opening, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	second, err := pgx.ConnectConfig(opening, first.Config())
	if err != nil {
		return nil //nolint:nilerr // no verdict: the next connection asks again
	}
	defer func() { _ = second.Close(context.WithoutCancel(ctx)) }()
	for range poolerTries { // another client may come in between
		own, err := sessionOf(ctx, first.PgConn(), "SELECT pg_backend_pid()")
		if err != nil {
			return err
		}
		other, err := sessionOf(opening, second.PgConn(), "SELECT pg_backend_pid()")
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if own != session || other == own {
			return errPooled
		}
	}
	s.sessions.Store(verdict)
	return nil
}

const poolerTries = 3

// connConfig reads a connection string. Of several hosts the one that takes writes is used.
func (s *Store) connConfig(connString string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(connString)
	if err != nil {
		return nil, fmt.Errorf("database connection settings: %w", err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // for Bun's own text, which is never the same twice
	config.ConnectTimeout = connectTimeout
	if severalHosts(config) {
		config.ConnectTimeout = hostTimeout
		if config.ValidateConnect == nil {
			config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
		}
	}
	config.DialFunc = (&net.Dialer{KeepAlive: keepAlive}).DialContext
	config.LookupFunc = s.hosts.lookup(config.LookupFunc)
	config.Tracer = s.statementSpans
	config.StatementCacheCapacity = 256
	config.OnPgError = s.leaveReadOnly(config.OnPgError)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "ai-admin"
	}
	return config, nil
}

const keepAlive = 15 * time.Second

// leaveReadOnly retires all connections once a server reports that it is read-only. It was the
// primary until a failover, or is a standby; new connections find the present primary.
func (s *Store) leaveReadOnly(keep pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	const readOnly = "25006"
	return func(conn *pgconn.PgConn, fault *pgconn.PgError) bool {
		if fault.Code == readOnly {
			s.pool.Reset()
			return false // nor is this connection used again
		}
		return keep(conn, fault)
	}
}

// latest returns a copy of the present connection settings, with the last working host first.
func (s *Store) latest() *pgx.ConnConfig {
	config := s.config.Load().Copy()
	s.hosts.order(config)
	return config
}

// useLatest gives a pool's new connection the present settings. While the database is silent it
// refuses.
func (s *Store) useLatest(_ context.Context, config *pgx.ConnConfig) error {
	if s.watch.silent.Load() {
		return errSilent
	}
	*config = *s.latest()
	config.DialFunc = s.watch.dial(config.DialFunc)
	return nil
}

// Connect opens a connection outside the pool, with the present settings. It is for session locks
// and notifications, which belong to one connection for its lifetime. The caller closes it.
func (s *Store) Connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := s.connect(ctx, s.latest())
	return conn, Translate(err)
}

func (s *Store) connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := s.settleBase(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// Reconnect switches new connections to another connection string, once a trial connection with it
// works. Existing connections finish their work and are then closed.
func (s *Store) Reconnect(ctx context.Context, connString string) error {
	config, err := s.connConfig(connString)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	conn, err := s.connect(ctx, config.Copy())
	if err != nil {
		return Translate(err)
	}
	_ = conn.Close(ctx)
	s.config.Store(config)
	s.pool.Reset()
	return nil
}

// SeparatePool opens a separate pool, for work that must go on while requests hold all connections of the
// store's. The caller closes it.
func (s *Store) SeparatePool(connections int) *sql.DB {
	db := sql.OpenDB(stdlib.GetConnector(*s.config.Load(), stdlib.OptionBeforeConnect(s.useLatest), stdlib.OptionAfterConnect(s.settle)))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(time.Minute)
	return db
}

// unhurried opens a pool of one connection without time limits: it may wait for locks and read whole
// tables. The caller closes it.
func (s *Store) unhurried() *bun.DB {
	db := sql.OpenDB(stdlib.GetConnector(*s.latest(), stdlib.OptionAfterConnect(s.settleBase)))
	db.SetMaxOpenConns(1)
	return bun.NewDB(db, pgdialect.New())
}

// hosts remembers which of several hosts worked last: trying a silent one first would cost each new
// connection a timeout.
type hosts struct {
	mu    sync.Mutex
	names map[string]string // by address
	ip    string            // that worked last, with its host and port
	host  string
	port  uint16
}

// lookup resolves names, with the last working address first.
func (h *hosts) lookup(resolve pgconn.LookupFunc) pgconn.LookupFunc {
	return func(ctx context.Context, host string) ([]string, error) {
		found, err := resolve(ctx, host)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.names == nil || len(h.names) > maxAddresses {
			h.names = map[string]string{}
		}
		for _, ip := range found {
			h.names[ip] = host
		}
		slices.SortStableFunc(found, func(a, b string) int { return firstIf(a == h.ip, b == h.ip) })
		return found, err
	}
}

const maxAddresses = 100 // more come from hosts that change their addresses

func (h *hosts) worked(address net.Addr) {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ip, h.port = tcp.IP.String(), tcp.AddrPort().Port()
	h.host = cmp.Or(h.names[h.ip], h.ip)
}

// order puts the last working host first.
func (h *hosts) order(config *pgx.ConnConfig) {
	if len(config.Fallbacks) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	last := func(f *pgconn.FallbackConfig) bool { return f.Host == h.host && f.Port == h.port }
	slices.SortStableFunc(all, func(a, b *pgconn.FallbackConfig) int { return firstIf(last(a), last(b)) })
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
}

func severalHosts(config *pgx.ConnConfig) bool {
	return slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.Host != config.Host || f.Port != config.Port
	})
}

func firstIf(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
