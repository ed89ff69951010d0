// What does a statement answer? Every answer is held to the rules that all clients rely on.

package main

import (
	"context"
	"errors"
	"fmt"

	"conformance/cases"
	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

type answer struct {
	schema *arrow.Schema
	rows   []cases.Row
}

// query runs a statement and reads all of it.
func query(ctx context.Context, client *flightsql.Client, statement string) (answer, error) {
	info, err := client.Execute(ctx, statement)
	if err != nil {
		return answer{}, err
	}
	return fetch(ctx, client, info)
}

// fetch reads what a FlightInfo announces: one endpoint without a location, and the schema that it said.
func fetch(ctx context.Context, client *flightsql.Client, info *flight.FlightInfo) (answer, error) {
	if err := report.Equal("the number of endpoints", len(info.Endpoint), 1); err != nil {
		return answer{}, err
	}
	if err := report.Equal("the number of locations", len(info.Endpoint[0].Location), 0); err != nil {
		return answer{}, err
	}
	announced, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	if err != nil {
		return answer{}, fmt.Errorf("schema of the FlightInfo: %w", err)
	}
	reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return answer{}, err
	}
	defer reader.Release()
	if !reader.Schema().Equal(announced) {
		return answer{}, fmt.Errorf("DoGet has the schema %s, FlightInfo said %s", reader.Schema(), announced)
	}
	read := answer{schema: reader.Schema()}
	for reader.Next() {
		rows, err := cases.Rows(reader.RecordBatch())
		if err != nil {
			return answer{}, err
		}
		read.rows = append(read.rows, rows...)
	}
	return read, reader.Err()
}

// expect compares a whole answer.
func expect(got answer, err error, rows ...[]string) error {
	if err != nil {
		return err
	}
	want := cases.Answer{}
	for _, row := range rows {
		texts := cases.Row{}
		for _, text := range row {
			texts = append(texts, &text)
		}
		want.Rows = append(want.Rows, texts)
	}
	return want.CheckRows(got.rows)
}

// finish closes what a case opened, without hiding why the case failed.
func finish(failed *error, closing error) {
	*failed = errors.Join(*failed, closing)
}

func update(ctx context.Context, client *flightsql.Client, statements ...string) error {
	for _, statement := range statements {
		if _, err := client.ExecuteUpdate(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
