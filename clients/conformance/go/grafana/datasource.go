// What does the data source send? Its calls of arrow-go, with its limits (4 MiB a message) and what it demands of the answers.

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v12/arrow/array"
	"github.com/apache/arrow/go/v12/arrow/flight"
	"github.com/apache/arrow/go/v12/arrow/flight/flightsql"
	"github.com/apache/arrow/go/v12/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// What a user enters in Grafana's page of settings, by the names of its files.
type settings struct {
	Host     string              `json:"host"`
	Metadata []map[string]string `json:"metadata"`
	Secure   bool                `json:"secure"`
	Username string              `json:"username"`
	Password string              `json:"password"`
	Token    string              `json:"token"`
}

type datasource struct {
	client  *flightsql.Client
	headers metadata.MD
}

// open logs in with a handshake if there is a name, and sends its bearer or the token, and the headers, with each call.
func open(with settings) (*datasource, error) {
	transport := insecure.NewCredentials()
	if with.Secure {
		system, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewClientTLSFromCert(system, "")
	}
	client, err := flightsql.NewClient(with.Host, nil, nil, grpc.WithTransportCredentials(transport))
	if err != nil {
		return nil, err
	}
	source := &datasource{client, metadata.MD{}}
	for _, header := range with.Metadata {
		source.headers = metadata.Join(source.headers, metadata.New(header))
	}
	if with.Username != "" || with.Password != "" {
		known, err := client.Client.AuthenticateBasicToken(context.Background(), with.Username, with.Password)
		if err != nil {
			return nil, errors.Join(err, client.Close())
		}
		bearer, _ := metadata.FromOutgoingContext(known)
		source.headers = metadata.Join(source.headers, bearer)
	}
	if with.Token != "" {
		source.headers.Set("Authorization", "Bearer "+with.Token)
	}
	return source, nil
}

func (d *datasource) close() {
	if err := d.client.Close(); err != nil {
		panic(err)
	}
}

// ask sends a command and reads what its one endpoint has.
func (d *datasource) ask(command func(context.Context) (*flight.FlightInfo, error), read func(*flight.Reader) error) error {
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(context.Background(), d.headers), limit)
	defer cancel()
	info, err := command(ctx)
	if err != nil {
		return err
	}
	if len(info.Endpoint) != 1 {
		return fmt.Errorf("unsupported endpoint count in response: %d", len(info.Endpoint))
	}
	reader, err := d.client.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		return err
	}
	defer reader.Release()
	return read(reader)
}

func (d *datasource) frame(command func(context.Context) (*flight.FlightInfo, error)) (made *frame, err error) {
	err = d.ask(command, func(reader *flight.Reader) (failed error) {
		made, failed = frameOf(reader)
		return failed
	})
	return made, err
}

// query is what a panel and the test of the settings ("select 1") send.
func (d *datasource) query(statement string) (*frame, error) {
	return d.frame(func(ctx context.Context) (*flight.FlightInfo, error) { return d.client.Execute(ctx, statement) })
}

// sqlInfo is where the editor has its keywords and functions from.
func (d *datasource) sqlInfo() (*frame, error) {
	return d.frame(func(ctx context.Context) (*flight.FlightInfo, error) {
		return d.client.GetSqlInfo(ctx, []flightsql.SqlInfo{})
	})
}

// tables is the editor's list of them.
func (d *datasource) tables() (*frame, error) {
	return d.frame(func(ctx context.Context) (*flight.FlightInfo, error) {
		return d.client.GetTables(ctx, &flightsql.GetTablesOpts{TableTypes: []string{"BASE TABLE", "table"}})
	})
}

// columns is the editor's list of a table's: the first row's, whose schema is read as if it were text.
func (d *datasource) columns(table string) (made *frame, err error) {
	command := func(ctx context.Context) (*flight.FlightInfo, error) {
		return d.client.GetTables(ctx, &flightsql.GetTablesOpts{TableNameFilterPattern: &table, IncludeSchema: true})
	}
	err = d.ask(command, func(reader *flight.Reader) error {
		if !reader.Next() {
			return fmt.Errorf("table not found: %w", reader.Err())
		}
		at := reader.Schema().FieldIndices("table_schema")
		if len(at) == 0 {
			return fmt.Errorf("table_schema field not found")
		}
		text := array.NewStringData(reader.Record().Column(at[0]).Data()).Value(0)
		schema, err := flight.DeserializeSchema([]byte(text), memory.DefaultAllocator)
		if err != nil {
			return err
		}
		made = newFrame(schema)
		return nil
	})
	return made, err
}
