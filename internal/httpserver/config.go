package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// Config says where a worker listens, and whom it lets in.
type Config struct {
	Env  string // what the names of its settings begin with, such as NISSA_HTTP
	Addr string // host:port
	// Tokens are those that let in; nil: there is none. It is asked again while the worker serves.
	Tokens func() ([]string, error)
	// CertFile and KeyFile are PEM, and make the worker answer by HTTPS alone; empty: by HTTP.
	CertFile, KeyFile string
}

// ConfigError is of a worker that is not to serve as it is configured.
type ConfigError struct {
	Setting string
	Err     error
}

func (e *ConfigError) Error() string { return e.Setting + " " + e.Err.Error() }

// Unwrap returns the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

// Exit is the code of a configuration that is wrong.
func (*ConfigError) Exit() int { return 2 }

var errExposed = errors.New("is not set: without a token nobody may listen where other machines ask; set it or the file of tokens, " +
	"or listen on loopback (openssl rand -hex 32 makes a token)")

// Check asks what a start will need of the configuration, and opens nothing. Its error is a *ConfigError.
func (c Config) Check(ctx context.Context) error {
	tokens, err := c.tokens()
	if err != nil {
		return err
	}
	if _, err := c.certificate(); err != nil {
		return err
	}
	if len(tokens) > 0 || c.Addr == "" {
		return nil
	}
	return c.alone(ctx)
}

// alone refuses an address that other machines reach. What a name leads to that leads nowhere is
// for the listener to say.
func (c Config) alone(ctx context.Context) error {
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil
	}
	addresses := []net.IPAddr{{IP: net.IPv4zero}} // as without a host
	if host != "" {
		if addresses, err = net.DefaultResolver.LookupIPAddr(ctx, host); err != nil {
			return nil
		}
	}
	for _, address := range addresses {
		if !address.IP.IsLoopback() {
			return c.exposed()
		}
	}
	return nil
}

func (c Config) exposed() error {
	return &ConfigError{c.Env + "_TOKEN", fmt.Errorf("%w: %s", errExposed, c.Addr)}
}

func (c Config) tokens() ([]string, error) {
	if c.Tokens == nil {
		return nil, nil
	}
	tokens, err := c.Tokens()
	if err != nil {
		return nil, &ConfigError{c.Env + "_TOKEN_FILE", err}
	}
	return tokens, nil
}

// maxPEM bounds a file of certificates, and one of a key.
const maxPEM = 1 << 20

// certificate reads the pair of files; one without a Leaf: there is none, and HTTP is plain. An error says
// nothing of what is in them.
func (c Config) certificate() (tls.Certificate, error) {
	if c.CertFile == "" && c.KeyFile == "" {
		return tls.Certificate{}, nil
	}
	chain, err := regularfile.Read(c.CertFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, &ConfigError{c.Env + "_TLS_CERT_FILE", err}
	}
	key, err := regularfile.ReadSecret(c.KeyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, &ConfigError{c.Env + "_TLS_KEY_FILE", err}
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return tls.Certificate{}, &ConfigError{c.Env + "_TLS_CERT_FILE", fmt.Errorf("and its key are no pair: %w", err)}
	}
	return pair, nil
}
