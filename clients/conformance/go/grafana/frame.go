// Which frame does the data source make of an answer? It copies these types; a column of another stays empty, and breaks the frame.

package main

import (
	"encoding/json"
	"fmt"

	"github.com/apache/arrow/go/v12/arrow"
	"github.com/apache/arrow/go/v12/arrow/array"
	"github.com/apache/arrow/go/v12/arrow/flight"
	"github.com/apache/arrow/go/v12/arrow/scalar"
)

type field struct {
	name     string
	kind     arrow.DataType
	nullable bool
	// nil is NULL.
	values []any
}

type frame struct {
	fields []*field
	rows   int
}

func newFrame(schema *arrow.Schema) *frame {
	made := &frame{}
	for _, of := range schema.Fields() {
		made.fields = append(made.fields, &field{name: of.Name, kind: of.Type, nullable: of.Nullable})
	}
	return made
}

func frameOf(reader *flight.Reader) (*frame, error) {
	made := newFrame(reader.Schema())
	for reader.Next() {
		record := reader.Record()
		for at, column := range record.Columns() {
			if err := made.fields[at].add(column); err != nil {
				return nil, fmt.Errorf("column %s: %w", made.fields[at].name, err)
			}
		}
		made.rows += int(record.NumRows())
	}
	return made, reader.Err()
}

func (f *frame) field(name string) (*field, error) {
	for _, of := range f.fields {
		if of.name == name {
			return of, nil
		}
	}
	return nil, fmt.Errorf("no column %s", name)
}

func (f *field) add(column arrow.Array) error {
	for at := range column.Len() {
		// Only a field that may be NULL has its values looked at; another's are taken as they stand.
		if f.nullable && column.IsNull(at) {
			f.values = append(f.values, nil)
			continue
		}
		value, err := valueAt(column, at)
		if err != nil {
			return err
		}
		f.values = append(f.values, value)
	}
	if f.nullable && column.DataType().ID() == arrow.DENSE_UNION {
		return fmt.Errorf("a union that may be NULL makes the data source panic")
	}
	return nil
}

func valueAt(column arrow.Array, at int) (any, error) {
	switch column := column.(type) {
	case *array.String:
		return column.Value(at), nil
	case *array.Boolean:
		return column.Value(at), nil
	case *array.Int8:
		return column.Value(at), nil
	case *array.Int16:
		return column.Value(at), nil
	case *array.Int32:
		return column.Value(at), nil
	case *array.Int64:
		return column.Value(at), nil
	case *array.Uint8:
		return column.Value(at), nil
	case *array.Uint16:
		return column.Value(at), nil
	case *array.Uint32:
		return column.Value(at), nil
	case *array.Uint64:
		return column.Value(at), nil
	case *array.Float32:
		return column.Value(at), nil
	case *array.Float64:
		return column.Value(at), nil
	case *array.Duration:
		return int64(column.Value(at)), nil
	case *array.Timestamp:
		// Whatever its unit is, the data source reads nanoseconds.
		return column.Value(at).ToTime(arrow.Nanosecond), nil
	case *array.DenseUnion:
		return unionAt(column, at)
	default:
		return nil, fmt.Errorf("the data source copies no %s: the frame is broken", column.DataType())
	}
}

// unionAt is the value as JSON; a child of another type is null.
func unionAt(column *array.DenseUnion, at int) (json.RawMessage, error) {
	one, err := scalar.GetScalar(column, at)
	if err != nil {
		return nil, err
	}
	var plain any
	switch child := one.(*scalar.DenseUnion).ChildValue().(type) {
	case *scalar.String:
		plain = child.String()
	case *scalar.Boolean:
		plain = child.Value
	case *scalar.Int32:
		plain = child.Value
	case *scalar.Int64:
		plain = child.Value
	case *scalar.List:
		plain = child.Value
	}
	return json.Marshal(plain)
}
