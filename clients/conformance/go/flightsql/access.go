// Who gets in over TLS? A name and a password by handshake, a token, and nobody else.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

func accessCases(config config) {
	check := func(name string, body func(context.Context, *flightsql.Client) error) {
		report.Case("access: "+name, func(ctx context.Context) (err error) {
			pem, err := os.ReadFile(config.ca)
			if err != nil {
				return err
			}
			trusted := x509.NewCertPool()
			if !trusted.AppendCertsFromPEM(pem) {
				return fmt.Errorf("no certificate in %s", config.ca)
			}
			client, err := connectTLS(config.secure, trusted)
			if err != nil {
				return err
			}
			defer func() { finish(&err, client.Close()) }()
			return body(ctx, client)
		})
	}
	asks := func(ctx context.Context, client *flightsql.Client) error {
		read, err := query(ctx, client, "SELECT current_user")
		return expect(read, err, []string{config.user})
	}
	check("a name and a password give a bearer token", func(ctx context.Context, client *flightsql.Client) error {
		known, err := client.Client.AuthenticateBasicToken(ctx, config.user, config.password)
		if err != nil {
			return err
		}
		return asks(known, client)
	})
	check("a token is enough", func(ctx context.Context, client *flightsql.Client) error {
		return asks(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+config.token), client)
	})
	check("a wrong password is refused", func(ctx context.Context, client *flightsql.Client) error {
		_, err := client.Client.AuthenticateBasicToken(ctx, config.user, "wrong")
		return report.Refused(err, codes.Unauthenticated, "")
	})
	check("a wrong token is refused", func(ctx context.Context, client *flightsql.Client) error {
		_, err := query(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer wrong"), client, "SELECT 1")
		return report.Refused(err, codes.Unauthenticated, "")
	})
	check("nobody is refused", func(ctx context.Context, client *flightsql.Client) error {
		_, err := query(ctx, client, "SELECT 1")
		return report.Refused(err, codes.Unauthenticated, "")
	})
	report.Case("access: a certificate that nobody trusts is refused by the client", func(ctx context.Context) (err error) {
		client, err := connectTLS(config.secure, x509.NewCertPool())
		if err != nil {
			return err
		}
		defer func() { finish(&err, client.Close()) }()
		_, err = query(ctx, client, "SELECT 1")
		return report.Refused(err, codes.Unavailable, "certificate")
	})
}

func connectTLS(address string, trusted *x509.CertPool) (*flightsql.Client, error) {
	transport := credentials.NewTLS(&tls.Config{RootCAs: trusted})
	return flightsql.NewClient(address, nil, nil, grpc.WithTransportCredentials(transport))
}
