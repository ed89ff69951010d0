// Package cases answers: what must every client see? The cases of ../cases, as its README.md describes them.
package cases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/codes"
)

// Row holds texts; nil is NULL.
type Row []*string

// Answer is what a statement must return.
type Answer struct {
	SQL     string      `json:"sql"`
	Columns [][2]string `json:"columns"`
	Rows    []Row       `json:"rows"`
	Order   string      `json:"order"`
}

// Refusal is the error that must come.
type Refusal struct {
	Status   string `json:"status"`
	Contains string `json:"contains"`
}

// Case is one of the files' entries.
type Case struct {
	Answer
	Name       string   `json:"name"`
	Setup      []string `json:"setup"`
	Parameters []any    `json:"parameters"`
	Affected   *int64   `json:"affected"`
	Error      *Refusal `json:"error"`
	Check      *Answer  `json:"check"`
}

// Load reads every file of the folder; numbers stay texts until they are bound.
func Load(folder string) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no cases in %s: %v", folder, err)
	}
	slices.Sort(files)
	var all []Case
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		decoder := json.NewDecoder(bytes.NewReader(content))
		decoder.UseNumber()
		var of []Case
		if err := decoder.Decode(&of); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, of...)
	}
	return all, nil
}

// Code is gRPC's code of that name.
func (r *Refusal) Code() (codes.Code, error) {
	var code codes.Code
	err := code.UnmarshalJSON([]byte(`"` + r.Status + `"`))
	return code, err
}

// CheckSchema compares names and types of columns.
func (a *Answer) CheckSchema(schema *arrow.Schema) error {
	got := make([][2]string, 0, schema.NumFields())
	for _, field := range schema.Fields() {
		got = append(got, [2]string{field.Name, TypeName(field.Type)})
	}
	if !slices.Equal(got, a.Columns) {
		return fmt.Errorf("the columns are %v, should be %v", got, a.Columns)
	}
	return nil
}

// CheckRows compares rows, in order unless the case says that any will do.
func (a *Answer) CheckRows(got []Row) error {
	texts, wanted := shown(got), shown(a.Rows)
	if a.Order == "any" {
		slices.Sort(texts)
		slices.Sort(wanted)
	}
	if !slices.Equal(texts, wanted) {
		return fmt.Errorf("the rows are %v, should be %v", texts, wanted)
	}
	return nil
}

func shown(rows []Row) []string {
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			panic(err)
		}
		lines = append(lines, string(line))
	}
	return lines
}

// Value is a parameter as Go has it: nil, bool, int64, float64 or string.
func Value(parameter any) (any, error) {
	number, isNumber := parameter.(json.Number)
	if !isNumber {
		return parameter, nil
	}
	if whole, err := number.Int64(); err == nil {
		return whole, nil
	}
	return number.Float64()
}

// Record is one row of the parameters.
func (c *Case) Record() (arrow.RecordBatch, error) {
	var fields []arrow.Field
	var columns []arrow.Array
	for at, parameter := range c.Parameters {
		value, err := Value(parameter)
		if err != nil {
			return nil, err
		}
		column := columnOf(value)
		defer column.Release()
		columns = append(columns, column)
		fields = append(fields, arrow.Field{Name: fmt.Sprint(at + 1), Type: column.DataType(), Nullable: true})
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 1), nil
}

func columnOf(value any) arrow.Array {
	switch value := value.(type) {
	case bool:
		builder := array.NewBooleanBuilder(memory.DefaultAllocator)
		builder.Append(value)
		return builder.NewArray()
	case int64:
		builder := array.NewInt64Builder(memory.DefaultAllocator)
		builder.Append(value)
		return builder.NewArray()
	case float64:
		builder := array.NewFloat64Builder(memory.DefaultAllocator)
		builder.Append(value)
		return builder.NewArray()
	case string:
		builder := array.NewStringBuilder(memory.DefaultAllocator)
		builder.Append(value)
		return builder.NewArray()
	default:
		return array.NewNull(1)
	}
}
