// Do prepared statements keep their handle, take parameters one row or many, and end when they are closed?

package main

import (
	"context"
	"fmt"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/codes"
)

type statement = flightsql.PreparedStatement

func preparedCases(client *flightsql.Client) {
	check := func(name, sql string, body func(context.Context, *statement) error) {
		report.Case(name, func(ctx context.Context) (err error) {
			if err := update(ctx, client, "DROP TABLE IF EXISTS go_bound", "CREATE TABLE go_bound (id BIGINT, name VARCHAR)"); err != nil {
				return err
			}
			prepared, err := client.Prepare(ctx, sql)
			if err != nil {
				return err
			}
			defer func() { finish(&err, prepared.Close(ctx)) }()
			return body(ctx, prepared)
		})
	}
	check("a bound statement keeps its handle and can be bound again", "SELECT ? + 1 AS next",
		func(ctx context.Context, prepared *statement) error {
			handle := string(prepared.Handle())
			for _, number := range []int64{1, 41} {
				prepared.SetParameters(numbers(number))
				info, err := prepared.Execute(ctx)
				if err != nil {
					return err
				}
				read, err := fetch(ctx, client, info)
				if err := expect(read, err, []string{fmt.Sprint(number + 1)}); err != nil {
					return err
				}
				if string(prepared.Handle()) != handle {
					return fmt.Errorf("the handle changed")
				}
			}
			return nil
		})
	check("several rows of parameters are several executions of a query", "SELECT CAST(? AS BIGINT) * 2 AS twice",
		func(ctx context.Context, prepared *statement) error {
			prepared.SetParameters(numbers(1, 2, 3))
			info, err := prepared.Execute(ctx)
			if err != nil {
				return err
			}
			read, err := fetch(ctx, client, info)
			return expect(read, err, []string{"2"}, []string{"4"}, []string{"6"})
		})
	check("batches of parameters are so many inserts", "INSERT INTO go_bound VALUES (?, 'bound')",
		func(ctx context.Context, prepared *statement) error {
			reader, err := array.NewRecordReader(numbers().Schema(), []arrow.RecordBatch{numbers(1, 2), numbers(3)})
			if err != nil {
				return err
			}
			defer reader.Release()
			prepared.SetRecordReader(reader)
			affected, err := prepared.ExecuteUpdate(ctx)
			if err == nil {
				err = report.Equal("the number of affected rows", affected, 3)
			}
			if err != nil {
				return err
			}
			read, err := query(ctx, client, "SELECT id, name FROM go_bound ORDER BY id")
			return expect(read, err, []string{"1", "bound"}, []string{"2", "bound"}, []string{"3", "bound"})
		})
	check("ExecutePut binds what Execute then uses", "SELECT ? AS same",
		func(ctx context.Context, prepared *statement) error {
			prepared.SetParameters(numbers(7))
			if err := prepared.ExecutePut(ctx); err != nil {
				return err
			}
			prepared.SetParameters(nil)
			info, err := prepared.Execute(ctx)
			if err != nil {
				return err
			}
			read, err := fetch(ctx, client, info)
			return expect(read, err, []string{"7"})
		})
	check("GetSchema of a prepared statement is its dataset schema", "SELECT id, name FROM go_bound",
		func(ctx context.Context, prepared *statement) error {
			result, err := prepared.GetSchema(ctx)
			if err != nil {
				return err
			}
			schema, err := flight.DeserializeSchema(result.Schema, memory.DefaultAllocator)
			if err == nil && !schema.Equal(prepared.DatasetSchema()) {
				err = fmt.Errorf("GetSchema has %s, prepare said %s", schema, prepared.DatasetSchema())
			}
			return err
		})
	check("a statement without its parameters is refused", "SELECT ? AS missing",
		func(ctx context.Context, prepared *statement) error {
			_, err := prepared.Execute(ctx)
			return report.Refused(err, codes.InvalidArgument, "")
		})
	check("too many parameters are refused", "SELECT id FROM go_bound WHERE id = ? AND id < ?",
		func(ctx context.Context, prepared *statement) error {
			prepared.SetParameters(numbers(1))
			_, err := prepared.Execute(ctx)
			return report.Refused(err, codes.InvalidArgument, "")
		})
	report.Case("a handle that nobody has is not found", func(ctx context.Context) error {
		_, err := flightsql.NewPreparedStatement(client, []byte("0123456789abcdef")).Execute(ctx)
		return report.Refused(err, codes.NotFound, "")
	})
	report.Case("a statement can be closed twice, then it is gone", func(ctx context.Context) error {
		prepared, err := client.Prepare(ctx, "SELECT 1")
		if err != nil {
			return err
		}
		second := flightsql.NewPreparedStatement(client, prepared.Handle())
		third := flightsql.NewPreparedStatement(client, prepared.Handle())
		if err := prepared.Close(ctx); err != nil {
			return err
		}
		if err := second.Close(ctx); err != nil {
			return err
		}
		_, err = third.Execute(ctx)
		return report.Refused(err, codes.NotFound, "")
	})
}

// numbers is a batch of one BIGINT column.
func numbers(values ...int64) arrow.RecordBatch {
	builder := array.NewInt64Builder(memory.DefaultAllocator)
	builder.AppendValues(values, nil)
	schema := arrow.NewSchema([]arrow.Field{{Name: "1", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	return array.NewRecordBatch(schema, []arrow.Array{builder.NewArray()}, int64(len(values)))
}
