// Command flightsql answers: does the Flight SQL client of arrow-go get along with the server? One line of JSON a case.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Who asks, and where.
type config struct {
	plain, secure, ca, user, password, token, cases string
}

func main() {
	var config config
	flag.StringVar(&config.plain, "plain", "", "address of a server that asks for nothing")
	flag.StringVar(&config.secure, "secure", "", "address of a server with TLS and users")
	flag.StringVar(&config.ca, "ca", "", "certificate of who issued the secure server's")
	flag.StringVar(&config.user, "user", "", "a user of the secure server")
	flag.StringVar(&config.password, "password", "", "the user's password")
	flag.StringVar(&config.token, "token", "", "a token of the user's")
	flag.StringVar(&config.cases, "cases", "", "folder of the cases")
	flag.Parse()
	if err := run(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(config config) error {
	client, err := connect(config.plain)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := prepareTables(client); err != nil {
		return fmt.Errorf("the tables of the cases could not be made: %w", err)
	}
	if err := sharedCases(client, config.cases); err != nil {
		return err
	}
	metadataCases(client)
	statementCases(client)
	preparedCases(client)
	ingestCases(client, config.plain)
	controlCases(client)
	sessionCases(config.plain)
	accessCases(config)
	return nil
}

// connect opens a connection with gRPC's own limits (4 MiB a message).
func connect(address string, middleware ...flight.ClientMiddleware) (*flightsql.Client, error) {
	return flightsql.NewClient(address, nil, middleware, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func prepareTables(client *flightsql.Client) error {
	for _, statement := range []string{
		"DROP TABLE IF EXISTS go_events",
		"CREATE TABLE go_events (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(10, 2), at TIMESTAMPTZ, PRIMARY KEY (id))",
		"INSERT INTO go_events VALUES (1, 'one', 1.5, TIMESTAMPTZ '2026-01-31 12:34:56Z'), (2, NULL, NULL, NULL)",
	} {
		if _, err := client.ExecuteUpdate(context.Background(), statement); err != nil {
			return err
		}
	}
	return nil
}
