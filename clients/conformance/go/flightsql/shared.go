// Does the client see what every client must see? The cases of the files, as statements and as prepared statements.

package main

import (
	"context"
	"fmt"

	"conformance/cases"
	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
)

// What a statement came to: rows or a number of them.
type outcome struct {
	answer
	affected int64
}

type way struct {
	name string
	run  func(context.Context, *flightsql.Client, *cases.Case) (outcome, error)
}

func sharedCases(client *flightsql.Client, folder string) error {
	all, err := cases.Load(folder)
	if err != nil {
		return err
	}
	for _, one := range all {
		for _, way := range []way{{"statement", asStatement}, {"prepared", asPrepared}} {
			report.Case(one.Name+" as "+way.name, func(ctx context.Context) error {
				return sharedCase(ctx, client, &one, way)
			})
		}
	}
	return nil
}

func sharedCase(ctx context.Context, client *flightsql.Client, one *cases.Case, way way) error {
	if way.name == "statement" && len(one.Parameters) > 0 {
		return report.Skip("a statement that is not prepared has no parameters")
	}
	if err := update(ctx, client, one.Setup...); err != nil {
		return err
	}
	got, err := way.run(ctx, client, one)
	if one.Error != nil {
		code, unknown := one.Error.Code()
		if unknown != nil {
			return unknown
		}
		return report.Refused(err, code, one.Error.Contains)
	}
	if err != nil {
		return err
	}
	if one.Affected != nil {
		err = report.Equal("the number of affected rows", got.affected, *one.Affected)
	} else if err = one.CheckSchema(got.schema); err == nil {
		err = one.CheckRows(got.rows)
	}
	if err != nil || one.Check == nil {
		return err
	}
	left, err := query(ctx, client, one.Check.SQL)
	if err != nil {
		return err
	}
	return one.Check.CheckRows(left.rows)
}

func asStatement(ctx context.Context, client *flightsql.Client, one *cases.Case) (outcome, error) {
	if one.Affected != nil {
		affected, err := client.ExecuteUpdate(ctx, one.SQL)
		return outcome{affected: affected}, err
	}
	read, err := query(ctx, client, one.SQL)
	return outcome{answer: read}, err
}

func asPrepared(ctx context.Context, client *flightsql.Client, one *cases.Case) (got outcome, err error) {
	prepared, err := client.Prepare(ctx, one.SQL)
	if err != nil {
		return outcome{}, err
	}
	defer func() { finish(&err, prepared.Close(ctx)) }()
	isUpdate, told := prepared.IsUpdate()
	// A statement that is to be refused may be either.
	if !told || (isUpdate != (one.Affected != nil) && one.Error == nil) {
		return outcome{}, fmt.Errorf("is_update is %v (sent: %v)", isUpdate, told)
	}
	if len(one.Parameters) > 0 {
		if prepared.ParameterSchema() == nil || prepared.ParameterSchema().NumFields() != len(one.Parameters) {
			return outcome{}, fmt.Errorf("the parameters are %v", prepared.ParameterSchema())
		}
		record, err := one.Record()
		if err != nil {
			return outcome{}, err
		}
		defer record.Release()
		prepared.SetParameters(record)
	}
	if isUpdate {
		affected, err := prepared.ExecuteUpdate(ctx)
		return outcome{affected: affected}, err
	}
	info, err := prepared.Execute(ctx)
	if err != nil {
		return outcome{}, err
	}
	read, err := fetch(ctx, client, info)
	if err == nil && !read.schema.Equal(prepared.DatasetSchema()) {
		err = fmt.Errorf("the schema is %s, prepare said %s", read.schema, prepared.DatasetSchema())
	}
	return outcome{answer: read}, err
}
