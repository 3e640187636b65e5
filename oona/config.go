package oona

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/signing"
)

// DefaultMaxRecord is the largest run record with its pending outputs, in bytes, that a client
// stores when its configuration says nothing else.
const DefaultMaxRecord = 256 << 10

// Config says which bus to talk to and how. Zero values take the default in
// brackets.
type Config struct {
	// URL is the address, credentials of an ACL user included:
	//
	//	redis://user:password@host:6379/0            one server
	//	rediss://host:6379/0?ca=/etc/esper/ca.pem    over TLS; without ca the system's authorities count
	//	unix:///run/redis.sock?db=0
	//	redis://user:password@sentinel1:26379/0?addr=sentinel2:26379&master_set=mymaster
	//	                                             Sentinel; its own credentials are sentinel_user, sentinel_password
	//	redis://host1:6379?addr=host2:6379           a cluster; with one address add cluster=true
	URL        string
	TLS        *tls.Config      // in place of what rediss:// means by itself
	Group      string           // default consumer group of subscriptions
	Consumer   string           // stable consumer name: what it had in hand is found again after a restart [oona-client]
	Streams    Streams          // [DefaultStreams]
	DeadLetter string           // stream of refused and exhausted entries [oona.deadletter]
	Keyring    *signing.Keyring // signs and verifies; required

	Trust         Trust         // whether envelopes without our signed attributes are taken [TrustCompatible]
	ControlWindow time.Duration // longest time between signing and storing a control message [2 min]; < 0 = any

	MaxStreamLength    int64         // bound of every stream, in entries [10 000]
	FreshnessWindow    time.Duration // oldest kernel request that is answered; <= 0 = any age
	ClockSkew          time.Duration // how far in the future a request may be dated [5 s]
	ReplayCapacity     int           // answered request ids remembered in memory, beside Redis [4096]
	RetryAttempts      int           // errors of its handler before an entry is dead-lettered [5]; see the page on delivery for crashes
	RetryBackoff       time.Duration // pause before the first retry, then doubling up to 30 s [250 ms]
	ClaimIdle          time.Duration // idle time after which another consumer's entry is taken over [60 s]; < 0 = never
	MaxPayload         int           // largest envelope, in bytes [256 KiB]
	MaxRecord          int           // largest run record with its pending outputs, in bytes [256 KiB]
	EmergencyPerMinute int           // emergency messages a minute; 0 = unlimited
	// EmergencyThreshold is accepted for compatibility: the prototype diverted
	// ordinary traffic to the emergency stream above this depth. Typed traffic
	// is never diverted here; reaching it puts the client in conservative mode.
	EmergencyThreshold int64
	DialTimeout        time.Duration // bound of connecting, and of one publish [3 s]
	Logger             *slog.Logger
}

// Trust says how much of an envelope must be signed. Whatever it is, an
// envelope without a valid signature is refused.
type Trust int

const (
	// TrustCompatible takes envelopes of prototype peers, which sign the payload
	// but neither stream nor time: those can be replayed elsewhere and later.
	TrustCompatible Trust = iota
	// TrustStrict takes only envelopes that carry the signed attributes key_id,
	// stream, issued_at_ms and nonce.
	TrustStrict
)

func (c Config) withDefaults() Config {
	c.Streams = c.Streams.withDefaults()
	c.Consumer = cmp.Or(c.Consumer, "oona-client")
	c.DeadLetter = cmp.Or(c.DeadLetter, "oona.deadletter")
	c.ControlWindow = cmp.Or(c.ControlWindow, 2*time.Minute)
	c.MaxStreamLength = cmp.Or(c.MaxStreamLength, 10_000)
	c.ClockSkew = cmp.Or(c.ClockSkew, 5*time.Second)
	c.ReplayCapacity = cmp.Or(c.ReplayCapacity, 4096)
	c.RetryAttempts = cmp.Or(c.RetryAttempts, 5)
	c.RetryBackoff = cmp.Or(c.RetryBackoff, 250*time.Millisecond)
	c.ClaimIdle = cmp.Or(c.ClaimIdle, time.Minute)
	c.MaxPayload = cmp.Or(c.MaxPayload, 256<<10)
	c.MaxRecord = cmp.Or(c.MaxRecord, DefaultMaxRecord)
	c.DialTimeout = cmp.Or(c.DialTimeout, 3*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// validate reports every fault at once.
func (c Config) validate() error {
	var faults []error
	if c.Keyring == nil {
		faults = append(faults, errors.New("no keyring: an unsigned bus accepts forgeries"))
	}
	if c.Trust != TrustCompatible && c.Trust != TrustStrict {
		faults = append(faults, errors.New("unknown trust"))
	}
	if c.MaxStreamLength < 0 || c.RetryAttempts < 0 || c.MaxPayload < 0 || c.MaxRecord < 0 {
		faults = append(faults, errors.New("a bound is negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("oona configuration: %w", err)
	}
	return nil
}

// resignShare is the part of a window of freshness that an answer may wait for
// the bus, before it is signed anew.
const resignShare = 4

// resignAfter is how long an answer may wait for the bus with its signature: an
// outage must not make it stale before it is stored.
func (c Config) resignAfter() time.Duration {
	after := 15 * time.Second
	for _, window := range []time.Duration{c.FreshnessWindow, c.ControlWindow} {
		if window > 0 {
			after = min(after, window/resignShare)
		}
	}
	return after
}
