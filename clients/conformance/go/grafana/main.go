// Command grafana answers: does Grafana's Flight SQL data source get along with the server? It asks as version 1.1.1 does,
// with the same versions of arrow-go and gRPC, and makes frames of the same types. One line of JSON a case.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// Who asks, and where.
type config struct {
	plain, secure, ca, user, password, token, cases string
	settings                                        settings
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
	documented := flag.String("settings", "", "the jsonData of the documentation")
	flag.Parse()
	if err := json.Unmarshal([]byte(*documented), &config.settings); err != nil {
		fmt.Fprintln(os.Stderr, "-settings:", err)
		os.Exit(1)
	}
	if err := run(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(config config) error {
	// The data source trusts whom the system trusts; Go reads this file for that.
	if err := os.Setenv("SSL_CERT_FILE", config.ca); err != nil {
		return err
	}
	source, err := open(config.settings)
	if err != nil {
		return err
	}
	defer source.close()
	if err := sharedCases(source, config.cases); err != nil {
		return err
	}
	editorCases(source)
	panelCases(source)
	accessCases(config)
	return nil
}

// No case takes longer: what hangs has failed.
const limit = 60 * time.Second

type skipped string

func (s skipped) Error() string { return string(s) }

// check runs a case and tells how it went. An error is a failure with its reason, unless it is a `skipped`.
func check(name string, body func() error) {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				ended <- fmt.Errorf("panic: %v", panicked)
			}
		}()
		ended <- body()
	}()
	var err error
	select {
	case err = <-ended:
	case <-time.After(limit):
		err = fmt.Errorf("does not end within %s", limit)
	}
	line := struct {
		Case    string `json:"case"`
		Outcome string `json:"outcome"`
		Why     string `json:"why"`
	}{name, "passed", ""}
	switch err := err.(type) {
	case nil:
	case skipped:
		line.Outcome, line.Why = "skipped", string(err)
	default:
		line.Outcome, line.Why = "failed", err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		panic(err)
	}
}
