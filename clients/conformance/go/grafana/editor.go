// Does the query editor fill its lists? Keywords and functions by their row, tables by their type, columns of the first row.

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A name that another table's matches as a pattern, and the other one, which comes first in the alphabet.
const table, lookalike = "grafana_b", "grafanaab"

func editorCases(source *datasource) {
	for _, statement := range []string{
		"DROP TABLE IF EXISTS " + table, "DROP TABLE IF EXISTS " + lookalike,
		"CREATE TABLE " + lookalike + " (other BIGINT)",
		"CREATE TABLE " + table + ` ("time" TIMESTAMPTZ, host_name VARCHAR, load DOUBLE, price DECIMAL(10, 2), day DATE, raw VARBINARY, n INTEGER)`,
		"INSERT INTO " + table + ` VALUES
			(TIMESTAMPTZ '2026-01-31 12:34:01Z', 'a', 0.5, 1.25, DATE '2026-01-31', X'00ff', 1),
			(TIMESTAMPTZ '2026-01-31 12:34:59Z', 'b', 1.5, NULL, NULL, NULL, NULL),
			(TIMESTAMPTZ '2026-01-31 12:36:00Z', 'a', 2.5, -2.5, DATE '1969-12-31', X'', 3)`,
	} {
		check("setup: "+strings.Join(strings.Fields(statement), " "), func() error {
			_, err := source.query(statement)
			return err
		})
	}
	check("health: select 1", func() error {
		_, err := source.query("select 1")
		return err
	})
	for at, what := range map[int]string{17: "keywords", 18: "numeric functions", 19: "string functions", 20: "system functions", 21: "datetime functions"} {
		check(fmt.Sprintf("sql-info: row %d has the %s", at, what), func() error { return words(source, at) })
	}
	check("sql-info: the functions are where the editor looks for them", func() error {
		for at, function := range map[int]string{17: "LIMIT", 18: "abs", 19: "lower", 20: "version", 21: "date_bin"} {
			if err := has(source, at, function); err != nil {
				return err
			}
		}
		return nil
	})
	check("tables: those of the type BASE TABLE or table", func() error {
		tables, err := source.tables()
		if err != nil {
			return err
		}
		for _, name := range []string{table, lookalike} {
			// The editor takes the third column, whatever its name.
			if !slices.Contains(tables.fields[2].values, any(name)) {
				return fmt.Errorf("%s is not among %v", name, tables.fields[2].values)
			}
		}
		return nil
	})
	check("columns: those of the table, though another's name matches the pattern", func() error { return columns(source) })
}

func listed(source *datasource, at int) ([]string, error) {
	info, err := source.sqlInfo()
	if err != nil {
		return nil, err
	}
	if at >= info.rows {
		return nil, fmt.Errorf("%d rows", info.rows)
	}
	// As the page does: the second column, this row.
	var found []string
	raw, isJSON := info.fields[1].values[at].(json.RawMessage)
	if !isJSON {
		return nil, fmt.Errorf("the value is a %T", info.fields[1].values[at])
	}
	return found, json.Unmarshal(raw, &found)
}

func words(source *datasource, at int) error {
	found, err := listed(source, at)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the list is empty")
	}
	return err
}

func has(source *datasource, at int, word string) error {
	found, err := listed(source, at)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(found, func(one string) bool { return strings.EqualFold(one, word) }) {
		return fmt.Errorf("row %d does not have %s", at, word)
	}
	return nil
}

func columns(source *datasource) error {
	made, err := source.columns(table)
	if err != nil {
		return err
	}
	var got []string
	for _, of := range made.fields {
		got = append(got, of.name+" "+of.kind.String())
	}
	// In the types that its panels get.
	want := []string{"time timestamp[ns, tz=UTC]", "host_name utf8", "load float64", "price float64", "day timestamp[ns]", "raw utf8", "n int32"}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the columns are %q, should be %q", got, want)
	}
	return nil
}
