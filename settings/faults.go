package settings

import (
	"errors"
	"fmt"
	"strings"
)

// SecretEnv is the variable that holds the shared secret.
const SecretEnv = "ESPER_LEYLINE_SECRET" //nolint:gosec // the name of the variable, not its value

// ErrNoSecret is in the chain of a [*Faults] when the shared secret is missing
// or blank.
var ErrNoSecret = errors.New("is not set: the shared secret that signs every message is required (openssl rand -hex 32 makes one)")

// Fault is one thing wrong with the configuration.
type Fault struct {
	Env string // the variable, or the path of the .env file
	Err error  // what is wrong with it; never holds a secret
}

// Error names the variable and what is wrong with it, on one line.
func (f Fault) Error() string { return f.Env + " " + f.Err.Error() }

// Unwrap returns the reason.
func (f Fault) Unwrap() error { return f.Err }

// Faults is every fault of a configuration, in the order of [Settings].
type Faults struct{ List []Fault }

// Error is one line for one fault; for more, a headline and a line for each.
func (f *Faults) Error() string {
	if len(f.List) == 1 {
		return "settings: " + f.List[0].Error()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "settings: %d faults", len(f.List))
	for _, fault := range f.List {
		text.WriteString("\n  " + fault.Error())
	}
	return text.String()
}

// Unwrap gives errors.Is and errors.As every fault.
func (f *Faults) Unwrap() []error {
	errs := make([]error, len(f.List))
	for i, fault := range f.List {
		errs[i] = fault
	}
	return errs
}

func (f *Faults) add(env string, err error) {
	f.List = append(f.List, Fault{Env: env, Err: err})
}

func (f *Faults) has(env string) bool {
	for _, fault := range f.List {
		if fault.Env == env {
			return true
		}
	}
	return false
}
