// Command driver answers: does arrow-go's driver for database/sql get along with the server? One line of JSON a case.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"flag"
	"fmt"
	"net/url"
	"os"

	"conformance/report"

	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
	"google.golang.org/grpc/codes"
)

// The name under which the test's authority is known to the driver.
const trusted = "trusted"

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
	if err := trust(config.ca); err != nil {
		return err
	}
	db, err := sql.Open("flightsql", "flightsql://"+config.plain+"?timeout=60s")
	if err != nil {
		return err
	}
	defer db.Close()
	if err := sharedCases(db, config.cases); err != nil {
		return err
	}
	typeCases(db)
	statementCases(db)
	contextCases(db)
	accessCases(config)
	return nil
}

func trust(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s", file)
	}
	return driver.RegisterTLSConfig(trusted, &tls.Config{RootCAs: pool})
}

func accessCases(config config) {
	check := func(name string, user *url.Userinfo, query url.Values, body func(context.Context, *sql.DB) error) {
		report.Case("access: "+name, func(ctx context.Context) error {
			dsn := url.URL{Scheme: "flightsql", Host: config.secure, User: user, RawQuery: query.Encode()}
			db, err := sql.Open("flightsql", dsn.String())
			if err != nil {
				return err
			}
			defer db.Close()
			return body(ctx, db)
		})
	}
	asks := func(ctx context.Context, db *sql.DB) error {
		var name string
		if err := db.QueryRowContext(ctx, "SELECT current_user").Scan(&name); err != nil {
			return err
		}
		return report.Equal("the user", name, config.user)
	}
	check("user and password in the DSN", url.UserPassword(config.user, config.password), url.Values{"tls": {trusted}}, asks)
	check("token in the DSN", nil, url.Values{"tls": {trusted}, "token": {config.token}}, asks)
	refused := func(ctx context.Context, db *sql.DB) error { return refusedToLogIn(asks(ctx, db)) }
	check("a wrong password is refused", url.UserPassword(config.user, "wrong"), url.Values{"tls": {trusted}}, refused)
	check("nobody is refused", nil, url.Values{"tls": {trusted}}, refused)
	check("a certificate that nobody trusts is refused by the client", url.UserPassword(config.user, config.password), url.Values{"tls": {"true"}},
		func(ctx context.Context, db *sql.DB) error {
			return report.Refused(asks(ctx, db), codes.Unavailable, "certificate")
		})
}
