package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"
)

// Bun writes arguments into the text of a statement, which PostgreSQL then parses and plans at each
// call. Hot statements are therefore composed by Bun once, with numbered placeholders, and run
// prepared by pgx; their rows are scanned by the same models. All others are Bun's alone.

// fieldsOf returns the fields of a model but those of the columns excluded.
func fieldsOf[R any](db *bun.DB, excluded ...string) []*schema.Field {
	return slices.DeleteFunc(slices.Clone(db.Table(reflect.TypeFor[R]()).Fields), func(f *schema.Field) bool { return slices.Contains(excluded, f.Name) })
}

// fieldsNamed returns the fields of a model that have these columns.
func fieldsNamed[R any](db *bun.DB, columns []string) []*schema.Field {
	table := db.Table(reflect.TypeFor[R]())
	return sliceOf(len(columns), func(i int) *schema.Field { return table.FieldMap[columns[i]] })
}

// columnsOf returns the columns of fields.
func columnsOf(fields []*schema.Field) []string {
	return sliceOf(len(fields), func(i int) string { return fields[i].Name })
}

// given returns a table of rows that are passed as parameters: one array for each column, from $first
// on. Its column n numbers the rows. Arrays of arrays must be rectangular, so array columns are
// passed as text.
func given(fields []*schema.Field, first int) string {
	var arrays, values []string
	for i, f := range fields {
		element, value := f.CreateTableSQLType, f.Name
		if strings.HasSuffix(element, "[]") {
			element, value = "text", f.Name+"::"+f.CreateTableSQLType+" AS "+f.Name
		}
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", first+i, element))
		values = append(values, value)
	}
	return fmt.Sprintf("(SELECT %s, n FROM unnest(%s) WITH ORDINALITY AS g(%s, n)) AS given",
		strings.Join(values, ", "), strings.Join(arrays, ", "), strings.Join(columnsOf(fields), ", "))
}

// insertGiven composes the insertion of given rows.
func insertGiven[R any](db *bun.DB, fields []*schema.Field, first int) *bun.InsertQuery {
	return db.NewInsert().Model((*R)(nil)).TableExpr(given(fields, first)).Column(columnsOf(fields)...)
}

// updateGiven composes the update of some fields to those of given rows.
func updateGiven[R any](db *bun.DB, fields, changed []*schema.Field) *bun.UpdateQuery {
	q := db.NewUpdate().Model((*R)(nil)).TableExpr(given(fields, 1))
	for _, f := range changed {
		q = q.Set("? = given.?", bun.Ident(f.Name), bun.Ident(f.Name))
	}
	return q
}

// arrays returns the arguments of [given]: one array for each column.
func arrays[R any](fields []*schema.Field, rows []R) []any {
	values := reflect.ValueOf(rows)
	args := make([]any, len(fields))
	for i, f := range fields {
		args[i] = array(f, values)
	}
	return args
}

// array returns one column of rows as pgx encodes it fastest.
func array(f *schema.Field, rows reflect.Value) any {
	n := rows.Len()
	at := func(i int) reflect.Value { return rows.Index(i).FieldByIndex(f.Index) }
	switch f.StructField.Type {
	case reflect.TypeFor[uuid.UUID]():
		return sliceOf(n, func(i int) pgtype.UUID {
			return pgtype.UUID{Bytes: *at(i).Addr().Interface().(*uuid.UUID), Valid: true}
		})
	case reflect.TypeFor[*uuid.UUID]():
		return sliceOf(n, func(i int) pgtype.UUID {
			if id := *at(i).Addr().Interface().(**uuid.UUID); id != nil {
				return pgtype.UUID{Bytes: *id, Valid: true}
			}
			return pgtype.UUID{}
		})
	case reflect.TypeFor[jsontext.Value]():
		return sliceOf(n, func(i int) []byte { return orEmptyObject(at(i).Bytes()) })
	case reflect.TypeFor[[]string]():
		return sliceOf(n, func(i int) *string { return arrayText(*at(i).Addr().Interface().(*[]string)) })
	}
	values := reflect.MakeSlice(reflect.SliceOf(f.StructField.Type), n, n)
	for i := range n {
		values.Index(i).Set(at(i))
	}
	return values.Interface()
}

func orEmptyObject(value []byte) []byte {
	if len(value) == 0 {
		return []byte("{}")
	}
	return value
}

func sliceOf[V any](n int, value func(int) V) []V {
	values := make([]V, n)
	for i := range values {
		values[i] = value(i)
	}
	return values
}

// arrayText writes an array as PostgreSQL reads it from text; nil is NULL.
func arrayText(values []string) *string {
	if values == nil {
		return nil
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, value := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for _, c := range []byte(value) {
			if c == '"' || c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	text := b.String()
	return &text
}

// scanRow reads a row of the fields' columns into a model.
func scanRow[R any](rows pgx.Rows, fields []*schema.Field, row *R) error {
	return rows.Scan(targetsOf(row, fields)...)
}

func targetsOf[R any](row *R, fields []*schema.Field) []any {
	value := reflect.ValueOf(row).Elem()
	targets := make([]any, len(fields), 2*len(fields))
	for i, f := range fields {
		targets[i] = target(value.FieldByIndex(f.Index).Addr().Interface())
	}
	return targets
}

// target converts pointers to named types, so that pgx need not search for how to scan into them.
func target(pointer any) any {
	switch p := pointer.(type) {
	case *uuid.UUID:
		return (*[16]byte)(p)
	case *jsontext.Value:
		return (*[]byte)(p)
	default:
		return pointer
	}
}

// collect runs a composed statement, prepared, and returns its rows.
func collect[R any](ctx context.Context, on querier, text string, fields []*schema.Field, args ...any) ([]R, error) {
	rows, err := on.Query(ctx, text, prepared(args...)...)
	if err != nil {
		return nil, Translate(err)
	}
	found, err := pgx.CollectRows(rows, func(pgx.CollectableRow) (row R, err error) {
		err = scanRow(rows, fields, &row)
		return row, err
	})
	return found, Translate(err)
}

// querier is what statements run on: the pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
}

// prepared runs a statement whose text is always the same: it is parsed and planned once
// per connection.
func prepared(args ...any) []any { return append([]any{pgx.QueryExecModeCacheStatement}, args...) }

// queryValues runs a statement that returns one column.
func queryValues[T any](ctx context.Context, on querier, text string, args []any) ([]T, error) {
	rows, err := on.Query(ctx, text, args...)
	if err != nil {
		return nil, Translate(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	return values, Translate(err)
}

// statements holds the composed statements, by purpose.
type statements struct {
	reading  reading
	learning learning
	writing  writing
	log      logReading
	auditing auditing
	checking checking
	grouping grouping
}

func compose(db *bun.DB) *statements {
	return &statements{composeReading(db), composeLearning(db), composeWriting(db), composeLog(db), composeAuditing(db), composeChecking(db), composeGrouping(db)}
}

// pipeline holds statements that are sent together, in one round trip. If one fails, those after it
// are not carried out.
type pipeline struct{ batch pgx.Batch }

func (p *pipeline) exec(text string, args ...any) { p.batch.Queue(text, args...) }

// query adds a statement that returns rows, and what to do with each.
func (p *pipeline) query(text string, args []any, row func(pgx.Rows) error) {
	p.batch.Queue(text, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// run sends the statements, each of which is parsed once per connection.
func (p *pipeline) run(ctx context.Context, conn *pgx.Conn) error {
	for _, query := range p.batch.QueuedQueries {
		if _, err := conn.Prepare(ctx, query.SQL, query.SQL); err != nil {
			return err
		}
	}
	batch := p.batch
	p.batch = pgx.Batch{}
	return conn.SendBatch(ctx, &batch).Close()
}
