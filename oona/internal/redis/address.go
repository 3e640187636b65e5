package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// blockingConnections bounds the connections of blocked reads: one for each
// reader.
const blockingConnections = 64

// connectionBuffer is the size of each buffer of a connection, in bytes. Each
// reader has a connection of its own: at the library's half megabyte a service
// would hold more in empty buffers than in everything else. A batch of 100
// ordinary messages fits.
const connectionBuffer = 64 << 10

// connectionRing is the binary logarithm of how many commands a connection
// holds in flight, for the same reason: 256 fill a pipeline.
const connectionRing = 8

// clientOption reads the address: see oona.Config.
func clientOption(cfg Config) (rueidis.ClientOption, error) {
	option, err := rueidis.ParseURL(cfg.URL)
	if err != nil {
		return option, withoutURL(err)
	}
	for _, addr := range option.InitAddress {
		if strings.Contains(addr, "@") {
			return option, errCredentials
		}
	}
	if err := addressExtras(&option, cfg); err != nil {
		return option, err
	}
	option.Dialer.Timeout, option.Sentinel.Dialer.Timeout = cfg.Timeout, cfg.Timeout
	option.ConnWriteTimeout = cfg.Timeout
	// No pings on idle connections: each would wake the process every second, and
	// a peer that has gone is noticed by whoever asks it.
	option.Dialer.KeepAlive, option.Sentinel.Dialer.KeepAlive = -1, -1
	option.DisableCache = true
	option.ReadBufferEachConn, option.WriteBufferEachConn = connectionBuffer, connectionBuffer
	option.RingScaleEachConn = connectionRing
	// One connection for all that blocks nothing: what is asked at once travels in one write, which
	// spares both ends more than several connections gain.
	option.PipelineMultiplex = -1
	// Errors come back at once: who retries, and when, is decided here.
	option.DisableRetry = true
	option.BlockingPoolSize = blockingConnections
	return option, nil
}

// addressExtras applies what the address may say beyond the client library.
func addressExtras(option *rueidis.ClientOption, cfg Config) error {
	parsed, err := url.Parse(cfg.URL)
	if err != nil {
		return withoutURL(err)
	}
	query := parsed.Query()
	sentinel := option.Sentinel.MasterSet != ""
	cluster := query.Get("cluster") == "true" || len(option.InitAddress) > 1
	option.ForceSingleClient = !sentinel && !cluster
	if sentinel {
		option.Sentinel.Username, option.Sentinel.Password = query.Get("sentinel_user"), query.Get("sentinel_password")
	}
	if cfg.TLS != nil {
		option.TLSConfig = cfg.TLS.Clone()
	}
	if err := addAuthority(option, query.Get("ca")); err != nil {
		return err
	}
	if sentinel && option.TLSConfig != nil {
		option.Sentinel.TLSConfig = option.TLSConfig
	}
	if !option.ForceSingleClient && option.TLSConfig != nil && cfg.TLS == nil {
		// Each node shows a certificate of its own name.
		option.TLSConfig.ServerName = ""
	}
	return nil
}

// maxAuthority bounds the file of a certificate authority, which holds a few kilobytes.
const maxAuthority = 1 << 20

// addAuthority trusts the certificates of a PEM file, and no others.
func addAuthority(option *rueidis.ClientOption, file string) error {
	if file == "" {
		return nil
	}
	if option.TLSConfig == nil {
		return errors.New("ca is given, but the address is not rediss://")
	}
	pem, err := regularfile.Read(file, maxAuthority)
	if err != nil {
		return fmt.Errorf("read certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("read certificate authority: %s holds no certificate", file)
	}
	option.TLSConfig.RootCAs = pool
	option.TLSConfig.MinVersion = tls.VersionTLS12
	return nil
}

// errCredentials does not repeat the address: the name of a host in errors of the network
// would hold the password.
var errCredentials = errors.New("credentials stand in front of the first host only: addr is host:port")

// withoutURL keeps the address out of an error: it holds a password.
func withoutURL(err error) error {
	if _, malformed := errors.AsType[*url.Error](err); malformed {
		return errors.New("the URL cannot be parsed")
	}
	text := err.Error()
	if at := strings.LastIndex(text, ": "); at > 0 {
		text = text[:at] // what follows is repeated from the address
	}
	return errors.New(text)
}

// maskedAddress is the host part of an address that may be too broken to parse.
func maskedAddress(raw string) string {
	if at := strings.LastIndexByte(raw, '@'); at >= 0 {
		raw = raw[at+1:]
	}
	raw = strings.TrimPrefix(raw[strings.LastIndex(raw, "://")+1:], "//")
	if end := strings.IndexAny(raw, "/?"); end >= 0 {
		raw = raw[:end]
	}
	if raw == "" {
		return "(no address)"
	}
	return strings.TrimPrefix(raw, ":")
}
