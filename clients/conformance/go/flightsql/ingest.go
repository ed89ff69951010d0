// Does bulk ingest keep its modes, their status codes, and all rows or none?

package main

import (
	"context"
	"fmt"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
)

type mode struct {
	missing flightsql.TableDefinitionOptionsTableNotExistOption
	there   flightsql.TableDefinitionOptionsTableExistsOption
}

// The four modes of ADBC.
var (
	create         = mode{flightsql.TableDefinitionOptionsTableNotExistOptionCreate, flightsql.TableDefinitionOptionsTableExistsOptionFail}
	appendTo       = mode{flightsql.TableDefinitionOptionsTableNotExistOptionFail, flightsql.TableDefinitionOptionsTableExistsOptionAppend}
	replace        = mode{flightsql.TableDefinitionOptionsTableNotExistOptionCreate, flightsql.TableDefinitionOptionsTableExistsOptionReplace}
	createOrAppend = mode{flightsql.TableDefinitionOptionsTableNotExistOptionCreate, flightsql.TableDefinitionOptionsTableExistsOptionAppend}
)

func ingest(ctx context.Context, client *flightsql.Client, table string, mode mode, batches ...arrow.RecordBatch) (int64, error) {
	reader, err := array.NewRecordReader(batches[0].Schema(), batches)
	if err != nil {
		return 0, err
	}
	defer reader.Release()
	definition := &flightsql.TableDefinitionOptions{IfNotExist: mode.missing, IfExists: mode.there}
	return client.ExecuteIngest(ctx, reader, &flightsql.ExecuteIngestOpts{TableDefinitionOptions: definition, Table: table})
}

func ingestCases(client *flightsql.Client, address string) {
	// Each begins without a table, or with one of a row.
	check := func(name string, there bool, body func(context.Context) error) {
		report.Case("ingest: "+name, func(ctx context.Context) error {
			statements := []string{"DROP TABLE IF EXISTS go_ingest"}
			if there {
				statements = append(statements, `CREATE TABLE go_ingest ("1" BIGINT)`, "INSERT INTO go_ingest VALUES (1)")
			}
			if err := update(ctx, client, statements...); err != nil {
				return err
			}
			return body(ctx)
		})
	}
	put := func(ctx context.Context, mode mode, want int64, batches ...arrow.RecordBatch) error {
		count, err := ingest(ctx, client, "go_ingest", mode, batches...)
		if err == nil {
			err = report.Equal("the number of rows", count, want)
		}
		return err
	}
	holds := func(ctx context.Context, rows ...[]string) error {
		read, err := query(ctx, client, `SELECT "1" FROM go_ingest ORDER BY 1`)
		return expect(read, err, rows...)
	}
	check("create makes the table, from several batches", false, func(ctx context.Context) error {
		if err := put(ctx, create, 3, numbers(1, 2), numbers(3)); err != nil {
			return err
		}
		return holds(ctx, []string{"1"}, []string{"2"}, []string{"3"})
	})
	check("create of a table that is there is refused", true, func(ctx context.Context) error {
		return report.Refused(put(ctx, create, 1, numbers(2)), codes.AlreadyExists, "go_ingest")
	})
	check("append adds rows", true, func(ctx context.Context) error {
		if err := put(ctx, appendTo, 1, numbers(2)); err != nil {
			return err
		}
		return holds(ctx, []string{"1"}, []string{"2"})
	})
	check("append to a table that is not there is refused", false, func(ctx context.Context) error {
		return report.Refused(put(ctx, appendTo, 1, numbers(2)), codes.NotFound, "go_ingest")
	})
	check("append of other columns is refused", true, func(ctx context.Context) error {
		schema := arrow.NewSchema([]arrow.Field{{Name: "other", Type: arrow.PrimitiveTypes.Int64}}, nil)
		other := array.NewRecordBatch(schema, numbers(1).Columns(), 1)
		return report.Refused(put(ctx, appendTo, 1, other), codes.AlreadyExists, "other")
	})
	check("create or append makes the table, then adds", false, func(ctx context.Context) error {
		for _, number := range []int64{1, 2} {
			if err := put(ctx, createOrAppend, 1, numbers(number)); err != nil {
				return err
			}
		}
		return holds(ctx, []string{"1"}, []string{"2"})
	})
	check("replace puts a new table in the old one's place", true, func(ctx context.Context) error {
		if err := put(ctx, replace, 2, numbers(8, 9)); err != nil {
			return err
		}
		return holds(ctx, []string{"8"}, []string{"9"})
	})
	check("replace makes a table that is not there", false, func(ctx context.Context) error {
		if err := put(ctx, replace, 1, numbers(8)); err != nil {
			return err
		}
		return holds(ctx, []string{"8"})
	})
	check("a batch without rows makes the table", false, func(ctx context.Context) error {
		if err := put(ctx, create, 0, numbers()); err != nil {
			return err
		}
		return holds(ctx)
	})
	check("a dictionary is text", false, func(ctx context.Context) error {
		if err := put(ctx, create, 3, words("a", "b", "a")); err != nil {
			return err
		}
		return holds(ctx, []string{"a"}, []string{"a"}, []string{"b"})
	})
	check("an answer can be put back as it came", false, func(ctx context.Context) error { return roundTrip(ctx, client) })
	check("a stream that is given up leaves no table", false, func(ctx context.Context) error { return givenUp(ctx, client, address) })
}

// words is a batch of one dictionary column.
func words(values ...string) arrow.RecordBatch {
	dictionary := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	builder := array.NewDictionaryBuilder(memory.DefaultAllocator, dictionary).(*array.BinaryDictionaryBuilder)
	for _, value := range values {
		if err := builder.AppendString(value); err != nil {
			panic(err)
		}
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "1", Type: dictionary, Nullable: true}}, nil)
	return array.NewRecordBatch(schema, []arrow.Array{builder.NewArray()}, int64(len(values)))
}

func roundTrip(ctx context.Context, client *flightsql.Client) error {
	const selected = "SELECT id, name, price, at FROM %s WHERE id = 1"
	info, err := client.Execute(ctx, fmt.Sprintf(selected, "go_events"))
	if err != nil {
		return err
	}
	reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return err
	}
	defer reader.Release()
	definition := &flightsql.TableDefinitionOptions{IfNotExist: create.missing, IfExists: create.there}
	if _, err := client.ExecuteIngest(ctx, reader, &flightsql.ExecuteIngestOpts{TableDefinitionOptions: definition, Table: "go_ingest"}); err != nil {
		return err
	}
	put, err := query(ctx, client, fmt.Sprintf(selected, "go_ingest"))
	return expect(put, err, []string{"1", "one", "1.50", "2026-01-31 12:34:56.000000"})
}

// A reader that lets the stream go instead of ending. What is canceled is reset by a goroutine of the client's: until that is done, the
// client may still close the stream as a whole one.
type broken struct {
	array.RecordReader
	cancel context.CancelFunc
	reset  resets
}

func (b broken) Next() bool {
	if b.RecordReader.Next() {
		return true
	}
	b.cancel()
	<-b.reset
	return false
}

// resets hears of a stream that the client has reset before it was answered.
type resets chan struct{}

func (r resets) HandleRPC(_ context.Context, event stats.RPCStats) {
	if end, ok := event.(*stats.End); ok && end.Error != nil {
		close(r)
	}
}

func (r resets) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (r resets) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (r resets) HandleConn(context.Context, stats.ConnStats)                       {}

func givenUp(ctx context.Context, client *flightsql.Client, address string) error {
	reset := make(resets)
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	sender, err := flightsql.NewClient(address, nil, nil, plain, grpc.WithStatsHandler(reset))
	if err != nil {
		return err
	}
	defer sender.Close()
	reader, err := array.NewRecordReader(numbers().Schema(), []arrow.RecordBatch{numbers(1)})
	if err != nil {
		return err
	}
	defer reader.Release()
	stream, cancel := context.WithCancel(ctx)
	defer cancel()
	definition := &flightsql.TableDefinitionOptions{IfNotExist: create.missing, IfExists: create.there}
	options := &flightsql.ExecuteIngestOpts{TableDefinitionOptions: definition, Table: "go_ingest"}
	if _, err := sender.ExecuteIngest(stream, broken{reader, cancel, reset}, options); err == nil {
		return fmt.Errorf("the client was told that its rows are there")
	}
	_, err = query(ctx, client, "SELECT * FROM go_ingest")
	return report.Refused(err, codes.NotFound, "go_ingest")
}
