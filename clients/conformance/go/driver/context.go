// Does a context end what it is for, and do twenty connections at once get along?

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"conformance/report"

	"google.golang.org/grpc/codes"
)

// Rows without end, of which the first come at once.
const endless = "SELECT a.value FROM generate_series(1, 1000000) AS a CROSS JOIN generate_series(1, 1000000) AS b"

// Runs for hours, whatever the machine, before the first row.
const silent = "SELECT count(*) FROM generate_series(1, 1000000) AS a CROSS JOIN generate_series(1, 1000000) AS b WHERE a.value * b.value % 7 = 8"

func contextCases(db *sql.DB) {
	report.Case("a context that is cancelled ends the rows, and the connection goes on", func(ctx context.Context) error {
		running, cancel := context.WithCancel(ctx)
		defer cancel()
		rows, err := db.QueryContext(running, endless)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() {
			return fmt.Errorf("no row: %w", rows.Err())
		}
		cancel()
		for rows.Next() {
		}
		// Whether the driver tells it as an error or as the end, it comes to an end.
		if err := rows.Err(); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		return db.PingContext(ctx)
	})
	report.Case("a deadline ends a query without rows", func(ctx context.Context) error {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		var count int64
		err := db.QueryRowContext(short, silent).Scan(&count)
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return report.Refused(err, codes.DeadlineExceeded, "")
	})
	report.Case("rows that are closed early leave the connection as it was", func(ctx context.Context) error {
		rows, err := db.QueryContext(ctx, endless)
		if err != nil {
			return err
		}
		if !rows.Next() {
			return fmt.Errorf("no row: %w", rows.Err())
		}
		return errors.Join(rows.Close(), db.PingContext(ctx))
	})
	report.Case("a pool of twenty connections answers two hundred queries", func(ctx context.Context) error { return pool(ctx, db) })
}

func pool(ctx context.Context, db *sql.DB) error {
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	var held []*sql.Conn
	for range 20 {
		connection, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		held = append(held, connection)
	}
	ended := make(chan error)
	for at, connection := range held {
		go func() {
			var failed error
			for round := range 10 {
				var got int64
				want := int64(at*10 + round)
				err := connection.QueryRowContext(ctx, "SELECT value FROM generate_series(0, 199) WHERE value = ?", want).Scan(&got)
				failed = errors.Join(failed, err, report.Equal("the value", got, want))
			}
			ended <- errors.Join(failed, connection.Close())
		}()
	}
	var failed error
	for range held {
		failed = errors.Join(failed, <-ended)
	}
	return failed
}
