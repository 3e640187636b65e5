// Package ask asks the services over HTTP, and says what to do when they do not answer.
//
// [Weatherlight] and [Nissa] are a [Service] each, found by the settings.
package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
)

const (
	// patience bounds one question, maxAnswer the bytes of an answer.
	patience  = 10 * time.Second
	maxAnswer = 64 << 20
	// maxReason bounds how much of a refusal is repeated.
	maxReason = 500
)

// Service is one that answers over HTTP.
type Service struct {
	name     string
	base     string
	shown    string // the same without a password
	token    string
	tokenEnv string // the variable of the token
	urlEnv   string // and that of the address
	hint     string // what to do when it does not answer
	keeps    bool   // its connections
	client   *http.Client
}

// Weatherlight is the foundation service at WEATHERLIGHT_URL, or else at WEATHERLIGHT_HTTP_ADDR.
func Weatherlight(s *settings.Settings) (*Service, error) {
	return newService(s, weatherlight(), "WEATHERLIGHT_HTTP", s.Weatherlight.URL, s.Weatherlight.Listener())
}

func weatherlight() *Service {
	return &Service{
		name: "Weatherlight", urlEnv: "WEATHERLIGHT_URL",
		hint: "start esper-weatherlight-service, or set WEATHERLIGHT_URL to where it runs",
	}
}

// Nissa is the one at NISSA_URL, or else at NISSA_HTTP_ADDR.
func Nissa(s *settings.Settings) (*Service, error) {
	return newService(s, &Service{
		name: "Nissa", urlEnv: "NISSA_URL", hint: "start esper-nissa-service, or set NISSA_URL to where it runs",
	}, "NISSA_HTTP", s.Weatherlight.NissaURL, s.Nissa.Listener())
}

// newService completes a service by where it is asked and what is sent.
func newService(s *settings.Settings, service *Service, env string, named settings.URL, listener settings.Listener) (*Service, error) {
	if err := service.locate(env, named, listener); err != nil {
		return nil, err
	}
	tokens, err := listener.Tokens()
	if err != nil {
		return nil, process.Misconfigured(env+"_TOKEN_FILE", err)
	}
	if service.tokenEnv = env + "_TOKEN"; len(tokens) > 0 {
		service.token = tokens[0]
	}
	service.client, err = client(s)
	return service, err
}

// locate notes where a service is asked: where it is named, or else where its listener is.
func (s *Service) locate(env string, named settings.URL, listener settings.Listener) error {
	s.base, s.shown = strings.TrimRight(named.Reveal(), "/"), strings.TrimRight(named.String(), "/")
	if s.base != "" {
		return nil
	}
	addr, err := Dialable(string(listener.Addr))
	if err != nil {
		return process.Misconfigured(env+"_ADDR", err)
	}
	s.base = listener.Scheme() + "://" + addr
	s.shown = s.base
	return nil
}

// At is the same service at another address; "" is where it was.
func (s *Service) At(address string) *Service {
	if address == "" {
		return s
	}
	other := *s
	other.base = strings.TrimRight(address, "/")
	other.shown = other.base
	if parsed, err := url.Parse(other.base); err == nil {
		other.shown = parsed.Redacted()
	}
	return &other
}

// Keep has connections kept from one question to the next, until Close.
func (s *Service) Keep() { s.keeps = true }

// Close ends the connections that are kept.
func (s *Service) Close() { s.client.CloseIdleConnections() }

// client trusts whom the settings say.
func client(s *settings.Settings) (*http.Client, error) {
	trust, err := s.Weatherlight.Trust()
	if err != nil {
		return nil, process.Misconfigured("ESPER_CA_FILE", err)
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for the service alone
		Transport:     &http.Transport{TLSClientConfig: trust},
	}, nil
}

var errOff = errors.New("the listener is off: name the address of the service to ask")

// Dialable is an address that a listener of that address answers on.
func Dialable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", errOff
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Base is where it is asked.
func (s *Service) Base() string { return s.shown }

// Get reads one answer.
func (s *Service) Get(ctx context.Context, path string, query url.Values, into any) error {
	return s.exchange(ctx, http.MethodGet, path, query, nil, into)
}

// Post has something changed, with a body of JSON.
func (s *Service) Post(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	return s.exchange(ctx, http.MethodPost, path, nil, text, into)
}

func (s *Service) exchange(ctx context.Context, method, path string, query url.Values, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	response, err := s.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return s.unreachable(ctx, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s at %s answers %s in a way that is not understood; is it of another version? %w", s.name, s.shown, path, err)
	}
	return nil
}

// Copy writes an answer as it comes, however long that takes.
func (s *Service) Copy(ctx context.Context, path string, to io.Writer) error {
	return s.Read(ctx, path, func(answer io.Reader) error {
		_, err := io.Copy(to, answer)
		return err
	})
}

// Read has an answer read as it comes, however long that takes.
func (s *Service) Read(ctx context.Context, path string, read func(io.Reader) error) error {
	response, err := s.send(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	return errors.Join(read(response.Body), response.Body.Close())
}

// send asks, and returns an answer that is one.
func (s *Service) send(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	target := s.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", s.name, err)
	}
	request.Close = !s.keeps
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return response, nil
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxReason))
	return nil, errors.Join(s.refused(path, response.StatusCode, answer), err, response.Body.Close())
}
