// Package report answers: how does a case tell how it went? One line of JSON each, to standard output.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// No case takes longer: what hangs has failed.
const limit = 60 * time.Second

type line struct {
	Case    string `json:"case"`
	Outcome string `json:"outcome"`
	Why     string `json:"why"`
}

type skipped struct{ why string }

func (s skipped) Error() string { return s.why }

// Skip says that this client cannot express the case.
func Skip(why string) error { return skipped{why} }

// Case runs a check. An error is a failure with its reason, unless it comes from Skip.
func Case(name string, check func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				ended <- fmt.Errorf("panic: %v", panicked)
			}
		}()
		ended <- check(ctx)
	}()
	var err error
	select {
	case err = <-ended:
	case <-time.After(limit + 5*time.Second):
		err = fmt.Errorf("does not end within %s", limit)
	}
	told := line{Case: name, Outcome: "passed"}
	var skip skipped
	if errors.As(err, &skip) {
		told.Outcome, told.Why = "skipped", skip.why
	} else if err != nil {
		told.Outcome, told.Why = "failed", err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		panic(err)
	}
}

// Equal is nil if both are the same.
func Equal[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is %v, should be %v", what, got, want)
	}
	return nil
}

// Refused is nil if the error has the status and says the words.
func Refused(err error, want codes.Code, words string) error {
	if err == nil {
		return fmt.Errorf("was accepted, should be refused with %s", want)
	}
	if got := status.Code(unwrapped(err)); got != want {
		return fmt.Errorf("was refused with %s, should be %s: %w", got, want, err)
	}
	if !strings.Contains(err.Error(), words) {
		return fmt.Errorf("the error does not say %q: %w", words, err)
	}
	return nil
}

// unwrapped is the innermost error with a status: libraries wrap what gRPC said.
func unwrapped(err error) error {
	for one := err; one != nil; one = errors.Unwrap(one) {
		if _, isStatus := one.(interface{ GRPCStatus() *status.Status }); isStatus {
			return one
		}
	}
	return err
}
