// Do Exec, Query, prepared statements and an empty answer do what users of database/sql expect?

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"conformance/report"

	"google.golang.org/grpc/codes"
)

func refusedToLogIn(err error) error { return report.Refused(err, codes.Unauthenticated, "") }

func statementCases(db *sql.DB) {
	report.Case("Ping", func(ctx context.Context) error { return db.PingContext(ctx) })
	report.Case("Exec counts rows, and a prepared statement runs again", func(ctx context.Context) error { return execs(ctx, db) })
	report.Case("a row that is not there is sql.ErrNoRows", func(ctx context.Context) error {
		var got int64
		if err := db.QueryRowContext(ctx, "SELECT 1 AS v WHERE false").Scan(&got); !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("said: %v", err)
		}
		return nil
	})
	report.Case("an answer of many batches is read to its end", func(ctx context.Context) error {
		rows, err := db.QueryContext(ctx, "SELECT value FROM generate_series(1, 100000) ORDER BY value")
		if err != nil {
			return err
		}
		defer rows.Close()
		var want, got int64
		for rows.Next() {
			if err := rows.Scan(&got); err != nil {
				return err
			}
			if want++; got != want {
				return fmt.Errorf("%d came, should be %d", got, want)
			}
		}
		return errors.Join(rows.Err(), report.Equal("the number of rows", want, 100000))
	})
	report.Case("an error before the first row is told", func(ctx context.Context) error {
		var total int64
		err := db.QueryRowContext(ctx, "SELECT sum(1 / (value - 90000)) AS total FROM generate_series(1, 100000)").Scan(&total)
		return report.Refused(err, codes.InvalidArgument, "zero")
	})
	report.Case("an error after rows is told", func(ctx context.Context) error { return errorAfterRows(ctx, db) })
	report.Case("a transaction is not implemented", func(ctx context.Context) error {
		_, err := db.BeginTx(ctx, nil)
		return report.Refused(err, codes.Unimplemented, "")
	})
}

func errorAfterRows(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT 1 / (value - 900000) AS quotient FROM generate_series(1, 1000000)")
	if err != nil {
		return report.Refused(err, codes.InvalidArgument, "zero")
	}
	defer rows.Close()
	read := 0
	for rows.Next() {
		read++
	}
	// Batches behind the one with the error may come before it is computed.
	if read >= 1000000 {
		return fmt.Errorf("%d rows came", read)
	}
	if rows.Err() == nil {
		return report.Skip("the driver looks for an error before it waits for rows, and not again: one that comes while it waits is lost")
	}
	return report.Refused(rows.Err(), codes.InvalidArgument, "zero")
}

func execs(ctx context.Context, db *sql.DB) error {
	for _, statement := range []string{"DROP TABLE IF EXISTS go_driver", "CREATE TABLE go_driver (id BIGINT, name VARCHAR)"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	insert, err := db.PrepareContext(ctx, "INSERT INTO go_driver VALUES (?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for id := range int64(3) {
		result, err := insert.ExecContext(ctx, id, "a name")
		if err != nil {
			return err
		}
		affected, err := result.RowsAffected()
		if err := errors.Join(err, report.Equal("the number of affected rows", affected, 1)); err != nil {
			return err
		}
	}
	var count int64
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM go_driver WHERE name = ?", "a name").Scan(&count); err != nil {
		return err
	}
	return report.Equal("the number of rows", count, 3)
}
