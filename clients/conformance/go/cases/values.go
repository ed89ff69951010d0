// Which text stands for an Arrow value and its type? The forms of ../cases/README.md.

package cases

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// TypeName is the type as the cases name it.
func TypeName(of arrow.DataType) string {
	switch of := of.(type) {
	case *arrow.ListType:
		return "list<" + TypeName(of.Elem()) + ">"
	case *arrow.StructType:
		fields := make([]string, 0, of.NumFields())
		for _, field := range of.Fields() {
			fields = append(fields, field.Name+": "+TypeName(field.Type))
		}
		return "struct<" + strings.Join(fields, ", ") + ">"
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal128(%d, %d)", of.Precision, of.Scale)
	case *arrow.TimestampType:
		return strings.Replace(of.String(), "tz=", "", 1)
	default:
		return of.String()
	}
}

// Rows are the texts of a batch.
func Rows(batch arrow.RecordBatch) ([]Row, error) {
	rows := make([]Row, batch.NumRows())
	for at := range rows {
		for _, column := range batch.Columns() {
			text, err := Text(column, at)
			if err != nil {
				return nil, err
			}
			rows[at] = append(rows[at], text)
		}
	}
	return rows, nil
}

// Text is one value; nil is NULL.
func Text(column arrow.Array, at int) (*string, error) {
	if column.IsNull(at) || column.DataType().ID() == arrow.NULL {
		return nil, nil
	}
	text, err := textOf(column, at)
	return &text, err
}

func textOf(column arrow.Array, at int) (string, error) {
	switch column := column.(type) {
	case *array.Boolean:
		return strconv.FormatBool(column.Value(at)), nil
	case *array.Float32:
		return Fraction(float64(column.Value(at)), 32), nil
	case *array.Float64:
		return Fraction(column.Value(at), 64), nil
	case *array.Decimal128:
		return column.Value(at).ToString(column.DataType().(*arrow.Decimal128Type).Scale), nil
	case *array.Binary:
		return hex.EncodeToString(column.Value(at)), nil
	case *array.Date32:
		return Date(column.Value(at).ToTime()), nil
	case *array.Time64:
		return Clock(column.Value(at).ToTime(column.DataType().(*arrow.Time64Type).Unit)), nil
	case *array.Timestamp:
		return Instant(column.Value(at).ToTime(column.DataType().(*arrow.TimestampType).Unit)), nil
	case *array.List, *array.Struct:
		return plainJSON(column.GetOneForMarshal(at))
	case *array.String, *array.Int8, *array.Int16, *array.Int32, *array.Int64, *array.Uint8, *array.Uint16, *array.Uint32, *array.Uint64:
		return column.ValueStr(at), nil
	default:
		return "", fmt.Errorf("no text for %s", column.DataType())
	}
}

func plainJSON(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSpace(out.String()), err
}

// Date, Clock and Instant are the texts of Go's times.
func Date(value time.Time) string    { return value.Format("2006-01-02") }
func Clock(value time.Time) string   { return value.Format("15:04:05.000000") }
func Instant(value time.Time) string { return value.UTC().Format("2006-01-02 15:04:05.000000") }

// Fraction is the shortest text that reads back as the same value.
func Fraction(value float64, bits int) string {
	switch size := math.Abs(value); {
	case math.IsNaN(value):
		return "NaN"
	case math.IsInf(value, 1):
		return "Infinity"
	case math.IsInf(value, -1):
		return "-Infinity"
	case size != 0 && (size < 1e-4 || size >= 1e16):
		return strconv.FormatFloat(value, 'e', -1, bits)
	}
	text := strconv.FormatFloat(value, 'f', -1, bits)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
