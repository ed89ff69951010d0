// Does a panel show what every client must see? The cases of the files, in the types that Grafana has.

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

type row []*string

type sharedCase struct {
	Name       string      `json:"name"`
	Setup      []string    `json:"setup"`
	SQL        string      `json:"sql"`
	Parameters []any       `json:"parameters"`
	Columns    [][2]string `json:"columns"`
	Rows       []row       `json:"rows"`
	Order      string      `json:"order"`
	Affected   *int64      `json:"affected"`
	Error      *struct {
		Contains string `json:"contains"`
	} `json:"error"`
	Check *sharedCase `json:"check"`
}

func sharedCases(source *datasource, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no cases in %s: %v", folder, err)
	}
	slices.Sort(files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var all []sharedCase
		if err := json.Unmarshal(content, &all); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, one := range all {
			check(one.Name, func() error { return one.run(source) })
		}
	}
	return nil
}

func (c *sharedCase) run(source *datasource) error {
	if len(c.Parameters) > 0 {
		return skipped("the data source sends no parameters")
	}
	if c.beyondNanoseconds() {
		return skipped("an instant of Grafana is between 1677 and 2262")
	}
	for _, statement := range c.Setup {
		if _, err := source.query(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	made, err := source.query(c.SQL)
	if c.Error != nil {
		if err == nil || !strings.Contains(err.Error(), c.Error.Contains) {
			return fmt.Errorf("should be refused with %q: %v", c.Error.Contains, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if c.Affected == nil {
		return c.holds(made)
	}
	if err := c.counted(made); err != nil || c.Check == nil {
		return err
	}
	left, err := source.query(c.Check.SQL)
	if err != nil {
		return err
	}
	return c.Check.holds(left)
}

// counted: what changes rows answers with their number, what does not with nothing.
func (c *sharedCase) counted(made *frame) error {
	if len(made.fields) == 0 && *c.Affected == 0 {
		return nil
	}
	count, err := made.field("count")
	if err != nil {
		return err
	}
	if len(count.values) != 1 || count.values[0] != *c.Affected {
		return fmt.Errorf("%v rows are affected, should be %d", count.values, *c.Affected)
	}
	return nil
}

func (c *sharedCase) holds(made *frame) error {
	if c.Columns != nil {
		if len(made.fields) != len(c.Columns) {
			return fmt.Errorf("%d columns, should be %d", len(made.fields), len(c.Columns))
		}
		for at, column := range c.Columns {
			if made.fields[at].name != column[0] {
				return fmt.Errorf("the columns are not %v", c.Columns)
			}
		}
	}
	var got, want []string
	for at := range made.rows {
		texts := row{}
		for _, of := range made.fields {
			texts = append(texts, text(of.values[at]))
		}
		got = append(got, texts.shown())
	}
	for _, one := range c.Rows {
		texts := slices.Clone(one)
		for at, column := range c.Columns {
			texts[at] = inGrafana(texts[at], column[1])
		}
		want = append(want, texts.shown())
	}
	if c.Order == "any" {
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the rows are %s, should be %s", got, want)
	}
	return nil
}

func (r row) shown() string {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(line)
}

const instant = "2006-01-02 15:04:05.000000"

// inGrafana is the text of a case as Grafana's types have it: a date is the instant at which it begins, a decimal a float.
func inGrafana(value *string, kind string) *string {
	if value == nil {
		return nil
	}
	said := *value
	switch {
	case kind == "date32":
		said += " 00:00:00.000000"
	case strings.HasPrefix(kind, "decimal"):
		number, err := strconv.ParseFloat(said, 64)
		if err != nil {
			panic(err)
		}
		said = *text(number)
	}
	return &said
}

func text(value any) *string {
	var said string
	switch value := value.(type) {
	case nil:
		return nil
	case float32:
		said = fraction(float64(value), 32)
	case float64:
		said = fraction(value, 64)
	case time.Time:
		said = value.UTC().Format(instant)
	default:
		said = fmt.Sprint(value)
	}
	return &said
}

// fraction is the form of cases/README.md.
func fraction(value float64, bits int) string {
	switch size := math.Abs(value); {
	case math.IsNaN(value):
		return "NaN"
	case math.IsInf(value, 0):
		return strings.Replace(strings.TrimPrefix(fmt.Sprint(value), "+"), "Inf", "Infinity", 1)
	case size != 0 && (size < 1e-4 || size >= 1e16):
		return strconv.FormatFloat(value, 'e', -1, bits)
	}
	said := strconv.FormatFloat(value, 'f', -1, bits)
	if !strings.Contains(said, ".") {
		said += ".0"
	}
	return said
}

func (c *sharedCase) beyondNanoseconds() bool {
	for _, one := range c.Rows {
		for at, column := range c.Columns {
			if (column[1] == "date32" || strings.HasPrefix(column[1], "timestamp")) && one[at] != nil {
				if year, err := strconv.Atoi((*one[at])[:4]); err != nil || year < 1678 || year > 2261 {
					return true
				}
			}
		}
	}
	return false
}
