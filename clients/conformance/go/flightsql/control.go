// Can a query be stopped, followed with PollFlightInfo, and its endpoint be renewed?

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"google.golang.org/grpc/codes"
)

// Runs for hours, whatever the machine.
const endless = "SELECT count(*) FROM generate_series(1, 1000000) AS a CROSS JOIN generate_series(1, 1000000) AS b WHERE a.value * b.value % 7 = 8"

func controlCases(client *flightsql.Client) {
	report.Case("CancelFlightInfo stops a query before its DoGet", func(ctx context.Context) error { return cancelledBefore(ctx, client) })
	report.Case("CancelFlightInfo stops a query that runs", func(ctx context.Context) error {
		return cancelledRunning(ctx, client, func(info *flight.FlightInfo) error {
			result, err := client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
			if err == nil && result.Status != flight.CancelStatusCancelled && result.Status != flight.CancelStatusCancelling {
				err = fmt.Errorf("the status is %s", result.Status)
			}
			return err
		})
	})
	report.Case("CancelQuery stops a query that runs", func(ctx context.Context) error {
		return cancelledRunning(ctx, client, func(info *flight.FlightInfo) error {
			result, err := client.CancelQuery(ctx, info)
			if err == nil && result != flightsql.CancelResultCancelled && result != flightsql.CancelResultCancelling {
				err = fmt.Errorf("the result is %s", result)
			}
			return err
		})
	})
	report.Case("CancelFlightInfo of a query that has ended is not found", func(ctx context.Context) error {
		info, err := client.Execute(ctx, "SELECT 1")
		if err != nil {
			return err
		}
		if _, err := fetch(ctx, client, info); err != nil {
			return err
		}
		_, err = client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
		return report.Refused(err, codes.NotFound, "")
	})
	report.Case("a context that is cancelled stops the stream", func(ctx context.Context) error {
		running, cancel := context.WithCancel(ctx)
		defer cancel()
		return cancelledRunning(running, client, func(*flight.FlightInfo) error {
			cancel()
			return nil
		})
	})
	report.Case("a deadline ends the stream", func(ctx context.Context) error {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		_, err := query(short, client, endless)
		return report.Refused(err, codes.DeadlineExceeded, "")
	})
	report.Case("PollFlightInfo of a statement comes to its FlightInfo", func(ctx context.Context) error {
		return polled(ctx, client, func(again *flight.FlightDescriptor) (*flight.PollInfo, error) {
			return client.ExecutePoll(ctx, "SELECT 42 AS answer", again)
		})
	})
	report.Case("PollFlightInfo of a prepared statement comes to its FlightInfo", func(ctx context.Context) (err error) {
		prepared, err := client.Prepare(ctx, "SELECT ? AS answer")
		if err != nil {
			return err
		}
		defer func() { finish(&err, prepared.Close(ctx)) }()
		prepared.SetParameters(numbers(42))
		return polled(ctx, client, func(again *flight.FlightDescriptor) (*flight.PollInfo, error) {
			return prepared.ExecutePoll(ctx, again)
		})
	})
	report.Case("PollFlightInfo of a statement with a mistake is refused", func(ctx context.Context) error {
		_, err := client.ExecutePoll(ctx, "SELEC 1", nil)
		return report.Refused(err, codes.InvalidArgument, "SELEC")
	})
	report.Case("RenewFlightEndpoint moves the expiration, and the ticket works", func(ctx context.Context) error { return renewed(ctx, client) })
}

func cancelledBefore(ctx context.Context, client *flightsql.Client) error {
	info, err := client.Execute(ctx, endless)
	if err != nil {
		return err
	}
	for range 2 {
		result, err := client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
		if err != nil {
			return err
		}
		if err := report.Equal("the status", result.Status, flight.CancelStatusCancelled); err != nil {
			return err
		}
	}
	_, err = fetch(ctx, client, info)
	return report.Refused(err, codes.Canceled, "")
}

// The schema comes first, so a reader that is there has a query that runs.
func cancelledRunning(ctx context.Context, client *flightsql.Client, cancel func(*flight.FlightInfo) error) error {
	info, err := client.Execute(ctx, endless)
	if err != nil {
		return err
	}
	reader, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return err
	}
	defer reader.Release()
	if err := cancel(info); err != nil {
		return err
	}
	for reader.Next() {
		if reader.RecordBatch().NumRows() > 0 {
			return fmt.Errorf("a row came")
		}
	}
	if errors.Is(reader.Err(), context.Canceled) {
		return nil
	}
	return report.Refused(reader.Err(), codes.Canceled, "")
}

func polled(ctx context.Context, client *flightsql.Client, poll func(*flight.FlightDescriptor) (*flight.PollInfo, error)) error {
	var again *flight.FlightDescriptor
	for {
		info, err := poll(again)
		if err != nil {
			return err
		}
		if info.Info == nil {
			return fmt.Errorf("a PollInfo without a FlightInfo")
		}
		if again = info.FlightDescriptor; again == nil {
			read, err := fetch(ctx, client, info.Info)
			return expect(read, err, []string{"42"})
		}
	}
}

func renewed(ctx context.Context, client *flightsql.Client) error {
	info, err := client.Execute(ctx, "SELECT 1")
	if err != nil {
		return err
	}
	endpoint := info.Endpoint[0]
	if endpoint.ExpirationTime == nil {
		return fmt.Errorf("the endpoint does not say when it expires")
	}
	later, err := client.RenewFlightEndpoint(ctx, &flight.RenewFlightEndpointRequest{Endpoint: endpoint})
	if err != nil {
		return err
	}
	if !later.ExpirationTime.AsTime().After(endpoint.ExpirationTime.AsTime()) {
		return fmt.Errorf("it expires at %s, not after %s", later.ExpirationTime.AsTime(), endpoint.ExpirationTime.AsTime())
	}
	info.Endpoint[0] = later
	read, err := fetch(ctx, client, info)
	return expect(read, err, []string{"1"})
}
