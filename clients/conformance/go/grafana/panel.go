// Do panels draw? Each macro as it is sent, the column of a series' time, every type, and answers larger than a message.

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow/go/v12/arrow"
)

const from, to = "2026-01-31T12:34:00Z", "2026-01-31T12:35:00Z"

// What stands in a query, and what the data source sends for it, with an interval of a minute.
var macros = []struct{ name, statement, want string }{
	{"$__dateBin", `SELECT date_bin(interval '60 second', "time", timestamp '1970-01-01T00:00:00Z') AS "time", sum(load) FROM grafana_b GROUP BY 1 ORDER BY 1`,
		"2026-01-31 12:34:00.000000 2.0, 2026-01-31 12:36:00.000000 2.5"},
	{"$__dateBinAlias", `SELECT date_bin(interval '60 second', time, timestamp '1970-01-01T00:00:00Z') as time_binned, count(*) FROM grafana_b GROUP BY time_binned ORDER BY 1`,
		"2026-01-31 12:34:00.000000 2, 2026-01-31 12:36:00.000000 1"},
	{"$__interval", `SELECT date_bin(interval '60 second', time) AS time, count(*) FROM grafana_b GROUP BY 1 ORDER BY 1`,
		"2026-01-31 12:34:00.000000 2, 2026-01-31 12:36:00.000000 1"},
	{"$__timeGroup", `SELECT count(*) FROM grafana_b GROUP BY datepart('minute', time),datepart('hour', time),datepart('day', time),datepart('month', time),datepart('year', time) ORDER BY 1`,
		"1, 2"},
	{"$__timeGroupAlias", `SELECT datepart('month', time) as time_month,datepart('year', time) as time_year, count(*) FROM grafana_b GROUP BY time_month, time_year`,
		"1 2026 3"},
	{"$__timeRangeFrom", `SELECT count(*) FROM grafana_b WHERE time >= '` + to + `'`, "1"},
	{"$__timeRangeTo", `SELECT count(*) FROM grafana_b WHERE time <= '` + to + `'`, "2"},
	{"$__timeRange and $__timeFilter", `SELECT count(*) FROM grafana_b WHERE time >= '` + from + `' AND time <= '` + to + `'`, "2"},
	{"$__timeFrom and $__timeTo", `SELECT count(*) FROM grafana_b WHERE time >= cast('` + from + `' as timestamp) AND time < cast('` + to + `' as timestamp)`, "2"},
}

func panelCases(source *datasource) {
	for _, macro := range macros {
		check("macro: "+macro.name, func() error { return answers(source, macro.statement, macro.want) })
	}
	check("time series: a column named time, of instants in the right year", func() error { return series(source) })
	check("types: every column of a table has its values", func() error {
		return answers(source, "SELECT * FROM grafana_b ORDER BY time", "2026-01-31 12:34:01.000000 a 0.5 1.25 2026-01-31 00:00:00.000000 00ff 1, "+
			"2026-01-31 12:34:59.000000 b 1.5 NULL NULL NULL NULL, 2026-01-31 12:36:00.000000 a 2.5 -2.5 1969-12-31 00:00:00.000000  3")
	})
	check("types: lists are JSON, times of day text", func() error {
		return answers(source, "SELECT make_array(1, NULL) AS l, TIME '12:34:56.000001' AS t", "[1,null] 12:34:56.000001")
	})
	check("types: row_number", func() error { return answers(source, "SELECT row_number() OVER () AS n", "1") })
	check("an answer without rows", func() error { return answers(source, "SELECT * FROM grafana_b WHERE false", "") })
	check("an answer larger than a message of gRPC", func() error {
		large, err := source.query("SELECT value, repeat('x', 3000) AS text FROM generate_series(1, 8000)")
		if err == nil && large.rows != 8000 {
			err = fmt.Errorf("%d rows", large.rows)
		}
		return err
	})
	check("a mistake is told in the server's words", func() error {
		_, err := source.query("SELECT nothing_like_it FROM grafana_b")
		if err == nil || !strings.Contains(err.Error(), "nothing_like_it") {
			return fmt.Errorf("said: %v", err)
		}
		return nil
	})
}

// answers compares the rows, their values with a space between, the rows with a comma.
func answers(source *datasource, statement, want string) error {
	made, err := source.query(statement)
	if err != nil {
		return err
	}
	var rows []string
	for at := range made.rows {
		var texts []string
		for _, of := range made.fields {
			shown := "NULL"
			if said := text(of.values[at]); said != nil {
				shown = *said
			}
			texts = append(texts, shown)
		}
		rows = append(rows, strings.Join(texts, " "))
	}
	if got := strings.Join(rows, ", "); got != want {
		return fmt.Errorf("the rows are %q, should be %q", got, want)
	}
	return nil
}

func series(source *datasource) error {
	made, err := source.query("SELECT time, host_name, load FROM grafana_b ORDER BY time")
	if err != nil {
		return err
	}
	at, err := made.field("time")
	if err != nil {
		return err
	}
	if at.kind.ID() != arrow.TIMESTAMP {
		return fmt.Errorf("time is a %s", at.kind)
	}
	if first := at.values[0].(time.Time).UTC(); first != time.Date(2026, 1, 31, 12, 34, 1, 0, time.UTC) {
		return fmt.Errorf("the series begins at %s", first)
	}
	return nil
}

func accessCases(config config) {
	asks := func(with settings) error {
		with.Host, with.Secure, with.Metadata = config.secure, true, config.settings.Metadata
		source, err := open(with)
		if err != nil {
			return err
		}
		defer source.close()
		return answers(source, "SELECT current_user", config.user)
	}
	refused := func(with settings) error {
		if err := asks(with); err == nil || !strings.Contains(err.Error(), "Unauthenticated") {
			return fmt.Errorf("said: %v", err)
		}
		return nil
	}
	check("access: user and password over TLS", func() error { return asks(settings{Username: config.user, Password: config.password}) })
	check("access: token over TLS", func() error { return asks(settings{Token: config.token}) })
	check("access: a wrong password is refused", func() error { return refused(settings{Username: config.user, Password: "wrong"}) })
	check("access: a wrong token is refused", func() error { return refused(settings{Token: "wrong"}) })
	check("without the header, plain columns are as they are", func() error {
		source, err := open(settings{Host: config.plain})
		if err != nil {
			return err
		}
		defer source.close()
		return answers(source, "SELECT host_name, load, n FROM grafana_b ORDER BY load", "a 0.5 1, b 1.5 NULL, a 2.5 3")
	})
}
