// Does a connection with cookies keep its options, and nobody else's?

package main

import (
	"context"
	"fmt"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"google.golang.org/grpc/codes"
)

func sessionCases(address string) {
	// Each has a connection of its own that keeps cookies.
	check := func(name string, body func(context.Context, *flightsql.Client) error) {
		report.Case("session: "+name, func(ctx context.Context) (err error) {
			client, err := connect(address, flight.NewClientCookieMiddleware())
			if err != nil {
				return err
			}
			defer func() { finish(&err, client.Close()) }()
			return body(ctx, client)
		})
	}
	check("without one the defaults are told", func(ctx context.Context, client *flightsql.Client) error {
		return options(ctx, client, map[string]string{"catalog": "tidewater", "schema": "public"})
	})
	check("a schema is kept, told, unset, and nobody else's", func(ctx context.Context, client *flightsql.Client) error {
		return schemaKept(ctx, client, address)
	})
	check("an option that is not there is an invalid name", func(ctx context.Context, client *flightsql.Client) error {
		return refusedOption(ctx, client, "no_such_option", "x", flight.SetSessionOptionsResultErrorInvalidName)
	})
	check("a schema that is a number is an invalid value", func(ctx context.Context, client *flightsql.Client) error {
		return refusedOption(ctx, client, "schema", int64(7), flight.SetSessionOptionsResultErrorInvalidValue)
	})
	check("statement_timeout_ms ends a statement", func(ctx context.Context, client *flightsql.Client) error {
		if err := set(ctx, client, "statement_timeout_ms", int64(300)); err != nil {
			return err
		}
		_, err := query(ctx, client, endless)
		return report.Refused(err, codes.DeadlineExceeded, "")
	})
	check("CloseSession without one is CLOSED", closed)
	check("CloseSession ends it, and the connection goes on", func(ctx context.Context, client *flightsql.Client) error {
		if err := set(ctx, client, "schema", "information_schema"); err != nil {
			return err
		}
		if err := closed(ctx, client); err != nil {
			return err
		}
		read, err := query(ctx, client, "SELECT current_schema() AS s")
		return expect(read, err, []string{"public"})
	})
}

func set(ctx context.Context, client *flightsql.Client, name string, value any) error {
	values, err := flight.NewSessionOptionValues(map[string]any{name: value})
	if err != nil {
		return err
	}
	result, err := client.SetSessionOptions(ctx, &flight.SetSessionOptionsRequest{SessionOptions: values})
	if err == nil && len(result.Errors) > 0 {
		err = fmt.Errorf("%s = %v: %v", name, value, result.Errors)
	}
	return err
}

func options(ctx context.Context, client *flightsql.Client, want map[string]string) error {
	result, err := client.GetSessionOptions(ctx, &flight.GetSessionOptionsRequest{})
	if err != nil {
		return err
	}
	for name, value := range want {
		if got := result.SessionOptions[name].GetStringValue(); got != value {
			return fmt.Errorf("%s is %q, should be %q", name, got, value)
		}
	}
	return nil
}

func schemaKept(ctx context.Context, client *flightsql.Client, address string) error {
	other, err := connect(address, flight.NewClientCookieMiddleware())
	if err != nil {
		return err
	}
	defer other.Close()
	if err := update(ctx, client, "DROP TABLE IF EXISTS go_session.only_here", "CREATE TABLE go_session.only_here (id BIGINT)"); err != nil {
		return err
	}
	const statement = "SELECT count(*) FROM only_here"
	if err := set(ctx, client, "schema", "go_session"); err != nil {
		return err
	}
	read, err := query(ctx, client, statement)
	if err := expect(read, err, []string{"0"}); err != nil {
		return err
	}
	if err := options(ctx, client, map[string]string{"schema": "go_session"}); err != nil {
		return err
	}
	if _, err := query(ctx, other, statement); report.Refused(err, codes.NotFound, "only_here") != nil {
		return fmt.Errorf("another connection: %v", err)
	}
	if err := set(ctx, client, "schema", nil); err != nil {
		return err
	}
	return options(ctx, client, map[string]string{"schema": "public"})
}

func refusedOption(ctx context.Context, client *flightsql.Client, name string, value any, want any) error {
	values, err := flight.NewSessionOptionValues(map[string]any{name: value})
	if err != nil {
		return err
	}
	result, err := client.SetSessionOptions(ctx, &flight.SetSessionOptionsRequest{SessionOptions: values})
	if err != nil {
		return err
	}
	return report.Equal[any]("the error", result.Errors[name].GetValue(), want)
}

func closed(ctx context.Context, client *flightsql.Client) error {
	result, err := client.CloseSession(ctx, &flight.CloseSessionRequest{})
	if err == nil {
		err = report.Equal("the status", result.Status.String(), "CLOSED")
	}
	return err
}
