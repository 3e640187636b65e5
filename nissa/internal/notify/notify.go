// Package notify delivers notifications: to people by the services that shoutrrr knows (Slack,
// Discord, Teams, mail, PagerDuty and more), to programs as a webhook, and to Alertmanager. What
// it says of a failure never holds a part of the address.
package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

// Patience is how long a delivery may take.
const Patience = 20 * time.Second

// Keepalive is how often programs are told again that an alert fires: those that hear nothing
// for a few times as long take it for gone.
const Keepalive = time.Minute

// Sender delivers to one receiver, one notification at a time.
type Sender interface {
	Send(ctx context.Context, n grouping.Notification) error
	// Program says that the receiver is a program that keeps alerts, and wants all of them.
	Program() bool
	// Close waits for what is under way, until ctx is done.
	Close(ctx context.Context) error
}

// ErrBusy is that the last delivery, though given up, has not returned.
var ErrBusy = errors.New("the last delivery has not returned")

// New is the sender for an address. A receiver without one has no sender: it is nil.
func New(receiver rules.Receiver) (Sender, error) {
	text := receiver.URL.Reveal()
	if text == "" {
		return nil, nil
	}
	address, err := url.Parse(text)
	if err != nil || address.Scheme == "" {
		return nil, fmt.Errorf("line %d: receiver %s: its URL is not understood", receiver.Line, receiver.Name)
	}
	hide := newRedactor(text)
	var sender Sender
	switch address.Scheme {
	case "alertmanager+http", "alertmanager+https":
		sender = newAlertmanager(address, hide)
	case "http", "https":
		sender = newWebhook(address, hide)
	default:
		sender, err = newService(address.Scheme, text, hide)
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: receiver %s: %w", receiver.Line, receiver.Name, hide.in(err))
	}
	return sender, nil
}

// redactor hides the parts of an address in what is said.
type redactor struct{ parts []string }

func newRedactor(address string) redactor {
	cut := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(":/@?&=#,;+ ", r) })
	}
	parts := []string{address}
	for _, part := range cut(address)[1:] { // behind the scheme
		parts = append(parts, part)
		if plain, err := url.QueryUnescape(part); err == nil {
			parts = append(append(parts, plain), cut(plain)...)
		}
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return len(part) < 3 })
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
	return redactor{parts}
}

// in is an error without the parts. An error of a request is what happened, without where.
func (r redactor) in(err error) error {
	if err == nil {
		return nil
	}
	if ofURL, is := errors.AsType[*url.Error](err); is {
		err = ofURL.Err
	}
	text := err.Error()
	for _, part := range r.parts {
		text = strings.ReplaceAll(text, part, "***")
	}
	const most = 300
	return errors.New(text[:min(len(text), most)])
}

// client posts JSON.
type client struct {
	http *http.Client
	hide redactor
}

func newClient(hide redactor) client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: Patience / 2,
		MaxIdleConns: 2, IdleConnTimeout: time.Minute,
	}
	return client{http: &http.Client{Transport: transport, Timeout: Patience}, hide: hide}
}

func (c client) post(ctx context.Context, address, contentType string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(string(body)))
	if err != nil {
		return c.hide.in(err)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := c.http.Do(request)
	if err != nil {
		return c.hide.in(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 256))
		return c.hide.in(fmt.Errorf("it answers %s: %s", response.Status, strings.TrimSpace(string(said))))
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection is used again
	return nil
}

// Close ends idle connections.
func (c client) Close(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}
