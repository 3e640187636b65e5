package ask

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// UnreachableError is of a service that does not answer.
type UnreachableError struct {
	text string
	err  error
}

func (e *UnreachableError) Error() string { return e.text }
func (e *UnreachableError) Unwrap() error { return e.err }

// Exit is the code of something that is needed and not there.
func (*UnreachableError) Exit() int { return process.ExitDependency }

// unreachable says which service did not answer. What ended the command is no fault of it.
func (s *Service) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, process.ErrSignal) {
		return cause
	}
	if asked, is := errors.AsType[*url.Error](err); is {
		err = asked.Err // the address is said already
	}
	hint := s.hint
	if _, stranger := errors.AsType[*tls.CertificateVerificationError](err); stranger {
		hint = "set ESPER_CA_FILE to the certificates of who signed that of the service, and ask for it by the name in there"
	}
	return &UnreachableError{fmt.Sprintf("%s does not answer at %s (%v): %s", s.name, s.shown, err, hint), err}
}

// RefusedError is an answer that is none.
type RefusedError struct {
	Status int
	text   string
}

func (e *RefusedError) Error() string { return e.text }

// Exit tells what nobody can be asked, a token that is missing and a service that cannot answer
// now from what is not there.
func (e *RefusedError) Exit() int {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized:
		return process.ExitConfiguration
	case http.StatusServiceUnavailable:
		return process.ExitDependency
	default:
		return process.ExitFailed
	}
}

func (s *Service) refused(path string, status int, answer []byte) error {
	var said struct{ Error, Reason, Status string }
	_ = json.Unmarshal(answer, &said)                                        // who answers otherwise says nothing more
	if strings.Contains(string(answer), "HTTP request to an HTTPS server") { // in the words of net/http
		said.Error = "it answers by https: set " + s.urlEnv + " to where"
	}
	why := cmp.Or(said.Error, said.Reason, said.Status, http.StatusText(status))
	text := fmt.Sprintf("%s at %s says %d to %s: %s", s.name, s.shown, status, path, why)
	switch status {
	case http.StatusUnauthorized:
		text += ": set " + s.tokenEnv + ", or " + s.tokenEnv + "_FILE, to the token of that service"
	case http.StatusNotFound:
		text += ": esperctl runs list shows what there is"
	case http.StatusServiceUnavailable:
		text += ": try again, or look at esperctl status"
	}
	return &RefusedError{status, text}
}
