// Does every metadata command answer in the reference schema, the same in FlightInfo, GetSchema and DoGet?

package main

import (
	"context"
	"fmt"
	"slices"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/schema_ref"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
)

type call[R any] func(context.Context) (R, error)

func plain[R any](method func(context.Context, ...grpc.CallOption) (R, error)) call[R] {
	return func(ctx context.Context) (R, error) { return method(ctx) }
}

func with[O, R any](method func(context.Context, O, ...grpc.CallOption) (R, error), option O) call[R] {
	return func(ctx context.Context) (R, error) { return method(ctx, option) }
}

type command struct {
	name   string
	info   call[*flight.FlightInfo]
	schema call[*flight.SchemaResult]
	want   *arrow.Schema
}

func commands(client *flightsql.Client) []command {
	events := flightsql.TableRef{Table: "go_events"}
	tables, withSchemas := &flightsql.GetTablesOpts{}, &flightsql.GetTablesOpts{IncludeSchema: true}
	both := func(ctx context.Context, of flightsql.TableRef, options ...grpc.CallOption) (*flight.FlightInfo, error) {
		return client.GetCrossReference(ctx, of, of, options...)
	}
	return []command{
		{"GetCatalogs", plain(client.GetCatalogs), plain(client.GetCatalogsSchema), schema_ref.Catalogs},
		{"GetDbSchemas", with(client.GetDBSchemas, &flightsql.GetDBSchemasOpts{}), plain(client.GetDBSchemasSchema), schema_ref.DBSchemas},
		{"GetTables", with(client.GetTables, tables), with(client.GetTablesSchema, tables), schema_ref.Tables},
		{"GetTables with schemas", with(client.GetTables, withSchemas), with(client.GetTablesSchema, withSchemas), schema_ref.TablesWithIncludedSchema},
		{"GetTableTypes", plain(client.GetTableTypes), plain(client.GetTableTypesSchema), schema_ref.TableTypes},
		{"GetPrimaryKeys", with(client.GetPrimaryKeys, events), plain(client.GetPrimaryKeysSchema), schema_ref.PrimaryKeys},
		{"GetExportedKeys", with(client.GetExportedKeys, events), plain(client.GetExportedKeysSchema), schema_ref.ExportedKeys},
		{"GetImportedKeys", with(client.GetImportedKeys, events), plain(client.GetImportedKeysSchema), schema_ref.ImportedKeys},
		{"GetCrossReference", with(both, events), plain(client.GetCrossReferenceSchema), schema_ref.CrossReference},
		{"GetXdbcTypeInfo", with(client.GetXdbcTypeInfo, nil), plain(client.GetXdbcTypeInfoSchema), schema_ref.XdbcTypeInfo},
		{"GetSqlInfo", with(client.GetSqlInfo, nil), plain(client.GetSqlInfoSchema), schema_ref.SqlInfo},
	}
}

func metadataCases(client *flightsql.Client) {
	for _, command := range commands(client) {
		report.Case(command.name+" has the reference schema in FlightInfo, GetSchema and DoGet", func(ctx context.Context) error {
			return referenceSchema(ctx, client, command)
		})
	}
	report.Case("GetTables names the table and its kind", func(ctx context.Context) error { return tablesListed(ctx, client) })
	report.Case("GetTables with a type that is not there is empty", func(ctx context.Context) error {
		info, err := client.GetTables(ctx, &flightsql.GetTablesOpts{TableTypes: []string{"NO SUCH TYPE"}})
		if err != nil {
			return err
		}
		none, err := fetch(ctx, client, info)
		return expect(none, err)
	})
	report.Case("GetTables describes columns with their SQL types", func(ctx context.Context) error { return columnsDescribed(ctx, client) })
	report.Case("GetPrimaryKeys names the key's column", func(ctx context.Context) error {
		info, err := client.GetPrimaryKeys(ctx, flightsql.TableRef{Table: "go_events"})
		if err != nil {
			return err
		}
		keys, err := fetch(ctx, client, info)
		if err == nil && (len(keys.rows) != 1 || *keys.rows[0][3] != "id" || *keys.rows[0][4] != "1") {
			err = fmt.Errorf("%d keys", len(keys.rows))
		}
		return err
	})
	report.Case("GetSqlInfo answers an id with the union's right child", func(ctx context.Context) error { return oneSqlInfo(ctx, client) })
	report.Case("GetXdbcTypeInfo filters by the type", func(ctx context.Context) error { return varcharType(ctx, client) })
}

func referenceSchema(ctx context.Context, client *flightsql.Client, command command) error {
	info, err := command.info(ctx)
	if err != nil {
		return err
	}
	result, err := command.schema(ctx)
	if err != nil {
		return err
	}
	reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return err
	}
	defer reader.Release()
	schemas := map[string]*arrow.Schema{"DoGet": reader.Schema()}
	for name, message := range map[string][]byte{"FlightInfo": info.Schema, "GetSchema": result.Schema} {
		if schemas[name], err = flight.DeserializeSchema(message, memory.DefaultAllocator); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, schema := range schemas {
		if !schema.Equal(command.want) {
			return fmt.Errorf("%s has %s, the reference is %s", name, schema, command.want)
		}
	}
	for reader.Next() {
	}
	return reader.Err()
}

func tablesListed(ctx context.Context, client *flightsql.Client) error {
	pattern := "go\\_even%"
	info, err := client.GetTables(ctx, &flightsql.GetTablesOpts{TableNameFilterPattern: &pattern, TableTypes: []string{"BASE TABLE"}})
	if err != nil {
		return err
	}
	tables, err := fetch(ctx, client, info)
	return expect(tables, err, []string{"tidewater", "public", "go_events", "TABLE"})
}

func columnsDescribed(ctx context.Context, client *flightsql.Client) error {
	name := "go_events"
	info, err := client.GetTables(ctx, &flightsql.GetTablesOpts{TableNameFilterPattern: &name, IncludeSchema: true})
	if err != nil {
		return err
	}
	reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return err
	}
	defer reader.Release()
	if !reader.Next() {
		return fmt.Errorf("no row: %v", reader.Err())
	}
	column, isBinary := reader.RecordBatch().Column(4).(*array.Binary)
	if !isBinary {
		return fmt.Errorf("table_schema is %T", reader.RecordBatch().Column(4))
	}
	schema, err := flight.DeserializeSchema(column.Value(0), memory.DefaultAllocator)
	if err != nil {
		return err
	}
	var types []string
	for _, field := range schema.Fields() {
		metadata := flightsql.ColumnMetadata{Data: &field.Metadata}
		typeName, told := metadata.TypeName()
		if table, _ := metadata.TableName(); !told || table != name {
			return fmt.Errorf("column %s has the metadata %v", field.Name, field.Metadata)
		}
		types = append(types, fmt.Sprintf("%s %s %v", field.Name, typeName, field.Nullable))
	}
	want := []string{"id BIGINT false", "name VARCHAR true", "price DECIMAL true", "at TIMESTAMPTZ true"}
	if !slices.Equal(types, want) {
		return fmt.Errorf("the columns are %q, should be %q", types, want)
	}
	return nil
}

func oneSqlInfo(ctx context.Context, client *flightsql.Client) error {
	info, err := client.GetSqlInfo(ctx, []flightsql.SqlInfo{flightsql.SqlInfoFlightSqlServerTransaction})
	if err != nil {
		return err
	}
	reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return err
	}
	defer reader.Release()
	if !reader.Next() || reader.RecordBatch().NumRows() != 1 {
		return fmt.Errorf("not one row: %v", reader.Err())
	}
	value, isUnion := reader.RecordBatch().Column(1).(*array.DenseUnion)
	if !isUnion {
		return fmt.Errorf("value is %T", reader.RecordBatch().Column(1))
	}
	return report.Equal("the child of transactions (int32_bitmask is 3)", value.TypeCode(0), arrow.UnionTypeCode(3))
}

func varcharType(ctx context.Context, client *flightsql.Client) error {
	const varchar = int32(12)
	wanted := varchar
	info, err := client.GetXdbcTypeInfo(ctx, &wanted)
	if err != nil {
		return err
	}
	reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return err
	}
	defer reader.Release()
	rows := int64(0)
	for reader.Next() {
		types := reader.RecordBatch().Column(1).(*array.Int32)
		for at := range types.Len() {
			if types.Value(at) != varchar {
				return fmt.Errorf("type %d is not what was asked for", types.Value(at))
			}
		}
		rows += reader.RecordBatch().NumRows()
	}
	if rows == 0 {
		return fmt.Errorf("no type: %v", reader.Err())
	}
	return reader.Err()
}
