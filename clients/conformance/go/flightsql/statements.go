// Do statements and updates do what the protocol says, once, in messages that gRPC's own limit lets through?

package main

import (
	"context"
	"fmt"
	"strconv"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/codes"
)

func statementCases(client *flightsql.Client) {
	report.Case("Execute runs CREATE TABLE though DoGet never comes", func(ctx context.Context) error {
		if err := update(ctx, client, "DROP TABLE IF EXISTS go_lazy"); err != nil {
			return err
		}
		if _, err := client.Execute(ctx, "CREATE TABLE go_lazy (id BIGINT)"); err != nil {
			return err
		}
		count, err := query(ctx, client, "SELECT count(*) FROM go_lazy")
		return expect(count, err, []string{"0"})
	})
	report.Case("Execute runs INSERT once though DoGet comes twice", func(ctx context.Context) error {
		if err := update(ctx, client, "DROP TABLE IF EXISTS go_once", "CREATE TABLE go_once (id BIGINT)"); err != nil {
			return err
		}
		info, err := client.Execute(ctx, "INSERT INTO go_once VALUES (1), (2)")
		if err != nil {
			return err
		}
		for range 2 {
			count, err := fetch(ctx, client, info)
			if err := expect(count, err, []string{"2"}); err != nil {
				return err
			}
		}
		count, err := query(ctx, client, "SELECT count(*) FROM go_once")
		return expect(count, err, []string{"2"})
	})
	report.Case("GetExecuteSchema says the schema and runs nothing", func(ctx context.Context) error { return schemaOnly(ctx, client) })
	report.Case("ExecuteUpdate of a SELECT is refused", func(ctx context.Context) error {
		_, err := client.ExecuteUpdate(ctx, "SELECT 1")
		return report.Refused(err, codes.InvalidArgument, "")
	})
	report.Case("a ticket of a SELECT is good for one DoGet", func(ctx context.Context) error {
		info, err := client.Execute(ctx, "SELECT 1")
		if err != nil {
			return err
		}
		first, err := fetch(ctx, client, info)
		if err := expect(first, err, []string{"1"}); err != nil {
			return err
		}
		_, err = fetch(ctx, client, info)
		return report.Refused(err, codes.FailedPrecondition, "")
	})
	report.Case("a large answer comes in messages of less than 4 MiB", func(ctx context.Context) error {
		large, err := query(ctx, client, "SELECT value, repeat('x', 3000) AS text FROM generate_series(1, 8000)")
		if err == nil {
			err = report.Equal("the number of rows", len(large.rows), 8000)
		}
		return err
	})
	report.Case("one large row among small ones comes in messages of less than 4 MiB", func(ctx context.Context) error {
		skewed, err := query(ctx, client, "SELECT repeat('x', CASE WHEN value = 500 THEN 3000000 ELSE 1000 END) AS text FROM generate_series(1, 4000)")
		if err == nil {
			err = report.Equal("the number of rows", len(skewed.rows), 4000)
		}
		return err
	})
	report.Case("an error in the middle of an answer ends it with an error", func(ctx context.Context) error {
		_, err := query(ctx, client, "SELECT 1 / (value - 900000) FROM generate_series(1, 1000000)")
		return report.Refused(err, codes.InvalidArgument, "zero")
	})
	report.Case("twenty statements at once on one connection do not mix", func(ctx context.Context) error { return atOnce(ctx, client) })
	unimplementedCases(client)
}

func schemaOnly(ctx context.Context, client *flightsql.Client) error {
	if err := update(ctx, client, "DROP TABLE IF EXISTS go_unmade"); err != nil {
		return err
	}
	if _, err := client.GetExecuteSchema(ctx, "CREATE TABLE go_unmade (id BIGINT)"); err != nil {
		return err
	}
	if _, err := query(ctx, client, "SELECT * FROM go_unmade"); err == nil {
		return fmt.Errorf("the table was made")
	}
	result, err := client.GetExecuteSchema(ctx, "SELECT id, name FROM go_events")
	if err != nil {
		return err
	}
	schema, err := flight.DeserializeSchema(result.Schema, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	read, err := query(ctx, client, "SELECT id, name FROM go_events")
	if err == nil && !schema.Equal(read.schema) {
		err = fmt.Errorf("GetSchema has %s, DoGet %s", schema, read.schema)
	}
	return err
}

func atOnce(ctx context.Context, client *flightsql.Client) error {
	ended := make(chan error)
	for number := range 20 {
		go func() {
			read, err := query(ctx, client, fmt.Sprintf("SELECT %d AS number", number))
			ended <- expect(read, err, []string{strconv.Itoa(number)})
		}()
	}
	var failed error
	for range 20 {
		if err := <-ended; err != nil {
			failed = err
		}
	}
	return failed
}

// What SqlInfo says is not there is refused as not implemented, and nothing else.
func unimplementedCases(client *flightsql.Client) {
	report.Case("BeginTransaction is not implemented", func(ctx context.Context) error {
		_, err := client.BeginTransaction(ctx)
		return report.Refused(err, codes.Unimplemented, "")
	})
	report.Case("ExecuteSubstrait is not implemented", func(ctx context.Context) error {
		_, err := client.ExecuteSubstrait(ctx, flightsql.SubstraitPlan{Plan: []byte("plan")})
		return report.Refused(err, codes.Unimplemented, "")
	})
	report.Case("PrepareSubstrait is not implemented", func(ctx context.Context) error {
		_, err := client.PrepareSubstrait(ctx, flightsql.SubstraitPlan{Plan: []byte("plan")})
		return report.Refused(err, codes.Unimplemented, "")
	})
	report.Case("ExecuteSubstraitUpdate is not implemented", func(ctx context.Context) error {
		_, err := client.ExecuteSubstraitUpdate(ctx, flightsql.SubstraitPlan{Plan: []byte("plan")})
		return report.Refused(err, codes.Unimplemented, "")
	})
}
