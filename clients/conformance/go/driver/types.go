// Which Go value comes for each type that the driver knows?

package main

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"strings"
	"time"

	"conformance/report"
)

func typeCases(db *sql.DB) {
	for _, one := range []struct {
		name, expression string
		want             any
	}{
		{"BOOLEAN", "true", true},
		{"TINYINT", "CAST(-128 AS TINYINT)", int8(-128)},
		{"SMALLINT", "CAST(-32768 AS SMALLINT)", int16(-32768)},
		{"INTEGER", "CAST(2147483647 AS INTEGER)", int32(2147483647)},
		{"BIGINT", "CAST(9223372036854775807 AS BIGINT)", int64(9223372036854775807)},
		{"REAL", "CAST(1.5 AS REAL)", float32(1.5)},
		{"DOUBLE", "CAST(-0.1 AS DOUBLE)", -0.1},
		{"DECIMAL", "CAST(12.34 AS DECIMAL(10, 2))", 12.34},
		{"VARCHAR", "'Grüße, 世界'", "Grüße, 世界"},
		{"VARBINARY", "X'00ff10'", []byte{0, 0xff, 0x10}},
		{"DATE", "DATE '1969-12-31'", time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)},
		{"TIME", "TIME '23:59:59.999999'", time.Date(1970, 1, 1, 23, 59, 59, 999999000, time.UTC)},
		{"TIMESTAMP", "TIMESTAMP '2026-01-31 12:34:56.000001'", time.Date(2026, 1, 31, 12, 34, 56, 1000, time.UTC)},
		{"TIMESTAMPTZ", "TIMESTAMPTZ '2026-01-31 12:34:56.000001+02:00'", time.Date(2026, 1, 31, 10, 34, 56, 1000, time.UTC)},
		{"NULL of a type", "CAST(NULL AS BIGINT)", nil},
		{"row_number", "row_number() OVER ()", int64(1)},
		{"rank", "rank() OVER (ORDER BY 1)", int64(1)},
		{"ntile", "ntile(4) OVER (ORDER BY 1)", int64(1)},
		{"count", "count(*) OVER ()", int64(1)},
		{"approx_distinct", "(SELECT approx_distinct(v) FROM (VALUES (1), (1)) AS t(v))", int64(1)},
	} {
		report.Case("type: "+one.name, func(ctx context.Context) error {
			var got any
			if err := db.QueryRowContext(ctx, "SELECT "+one.expression+" AS value").Scan(&got); err != nil {
				return err
			}
			if !reflect.DeepEqual(got, one.want) {
				return fmt.Errorf("%T %v, should be %T %v", got, got, one.want, one.want)
			}
			return nil
		})
	}
	parameterTypes(db)
}

// What can be bound: the driver takes the type that the server infers, so the statement says it.
func parameterTypes(db *sql.DB) {
	for kind, value := range map[string]any{"BOOLEAN": true, "BIGINT": int64(1) << 60, "DOUBLE": -0.1, "VARCHAR": "it's"} {
		report.Case("parameter: "+kind, func(ctx context.Context) error {
			var got any
			if err := db.QueryRowContext(ctx, "SELECT CAST(? AS "+kind+") AS value", value).Scan(&got); err != nil {
				return err
			}
			return report.Equal("the value", got, value)
		})
	}
	report.Case("parameter: the number of them is checked before they are sent", func(ctx context.Context) error {
		_, err := db.QueryContext(ctx, "SELECT CAST(? AS BIGINT)", 1, 2)
		if err == nil || !strings.Contains(err.Error(), "expected 1 arguments, got 2") {
			return fmt.Errorf("said: %v", err)
		}
		return nil
	})
}
