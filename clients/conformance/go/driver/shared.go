// Does the driver see what every client must see? The cases of the files, with what Go's types can hold.

package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"conformance/cases"
	"conformance/report"
)

func sharedCases(db *sql.DB, folder string) error {
	all, err := cases.Load(folder)
	if err != nil {
		return err
	}
	for _, one := range all {
		report.Case(one.Name, func(ctx context.Context) error { return sharedCase(ctx, db, &one) })
	}
	return nil
}

func sharedCase(ctx context.Context, db *sql.DB, one *cases.Case) error {
	var parameters []any
	for _, parameter := range one.Parameters {
		value, err := cases.Value(parameter)
		if err != nil {
			return err
		}
		parameters = append(parameters, value)
	}
	for _, statement := range one.Setup {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	err := answered(ctx, db, one, parameters)
	if err != nil && strings.Contains(err.Error(), "type *array.List: not supported") {
		return report.Skip("the driver reads no lists")
	}
	if one.Error != nil {
		code, unknown := one.Error.Code()
		if unknown != nil {
			return unknown
		}
		return report.Refused(err, code, one.Error.Contains)
	}
	if err != nil || one.Check == nil {
		return err
	}
	rows, err := read(ctx, db, one.Check, one.Check.SQL)
	if err != nil {
		return err
	}
	return one.Check.CheckRows(rows)
}

func answered(ctx context.Context, db *sql.DB, one *cases.Case, parameters []any) error {
	if one.Affected == nil {
		rows, err := read(ctx, db, &one.Answer, one.SQL, parameters...)
		if err != nil {
			return err
		}
		return one.CheckRows(rows)
	}
	result, err := db.ExecContext(ctx, one.SQL, parameters...)
	if err != nil {
		return err
	}
	affected, err := result.RowsAffected()
	if err != nil {
		return err
	}
	return report.Equal("the number of affected rows", affected, *one.Affected)
}

// read takes the texts of an answer. The driver gives no types, so they are the case's; it has names once a row is there.
func read(ctx context.Context, db *sql.DB, want *cases.Answer, statement string, parameters ...any) ([]cases.Row, error) {
	rows, err := db.QueryContext(ctx, statement, parameters...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var got []cases.Row
	for rows.Next() {
		values, targets := make([]any, len(names)), make([]any, len(names))
		for at := range values {
			targets[at] = &values[at]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		row := cases.Row{}
		for at, value := range values {
			kind := ""
			if at < len(want.Columns) {
				kind = want.Columns[at][1]
			}
			row = append(row, text(value, kind))
		}
		got = append(got, row)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for at, column := range want.Columns {
		if at >= len(names) || names[at] != column[0] {
			return nil, fmt.Errorf("the columns are %q, should be %v", names, want.Columns)
		}
	}
	for _, row := range want.Rows {
		roundDecimals(row, want.Columns)
	}
	return got, nil
}

func text(value any, kind string) *string {
	var said string
	switch value := value.(type) {
	case nil:
		return nil
	case float64:
		if strings.HasPrefix(kind, "decimal") {
			said = rounded(value)
		} else {
			said = cases.Fraction(value, 64)
		}
	case float32:
		said = cases.Fraction(float64(value), 32)
	case []byte:
		said = hex.EncodeToString(value)
	case time.Time:
		switch {
		case kind == "date32":
			said = cases.Date(value)
		case strings.HasPrefix(kind, "time64"):
			said = cases.Clock(value)
		default:
			said = cases.Instant(value)
		}
	default:
		said = fmt.Sprint(value)
	}
	return &said
}

// The driver reads DECIMAL as a float64, by a product that is not rounded right: more digits cannot be asked of it.
func rounded(decimal float64) string {
	return strconv.FormatFloat(decimal, 'g', 15, 64)
}

func roundDecimals(row cases.Row, columns [][2]string) {
	for at, column := range columns {
		if strings.HasPrefix(column[1], "decimal") && row[at] != nil {
			value, err := strconv.ParseFloat(*row[at], 64)
			if err != nil {
				panic(err)
			}
			said := rounded(value)
			row[at] = &said
		}
	}
}
