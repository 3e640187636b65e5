// Package assembly makes the parts of a service as the settings describe them. The
// service, its preflight and the tools that work on what is the service's make the same
// ones.
//
// [Bus], [Library], [Catalog] and [Forge] return what each part is made from, [Check] the
// faults that only the parts can see. What differs between callers, such as loggers and
// what is announced, they add.
package assembly

import (
	"time"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
)

// Names that every Weatherlight on a bus shares.
const (
	Group       = "weatherlight"    // of consumers
	DeadLetters = "oona.deadletter" // the stream of refused and exhausted entries
	PartKasmina = "kasmina"         // of the records of runs
	PartTamiyo  = "tamiyo"
)

// claimIdle is how long another instance may be silent about an entry before it
// is taken over. One that works on an entry says so more often.
const claimIdle = 8 * time.Second

// Bus is the connection to the bus. Its address is another one when the broker is embedded.
func Bus(set *settings.Settings, keyring *signing.Keyring) oona.Config {
	return oona.Config{
		URL:                set.Redis.URL.Reveal(),
		Group:              Group,
		Consumer:           set.Weatherlight.Consumer(),
		Streams:            Streams(set),
		DeadLetter:         DeadLetters,
		Keyring:            keyring,
		Trust:              trust(set.Oona.Trust),
		ClaimIdle:          claimIdle,
		FreshnessWindow:    set.Kernel.FreshnessWindow,
		ReplayCapacity:     set.Kernel.NonceCacheSize,
		EmergencyPerMinute: set.Oona.EmergencyPerMinute,
		EmergencyThreshold: int64(set.Oona.EmergencyThreshold),
	}
}

func trust(text string) oona.Trust {
	if text == settings.TrustStrict {
		return oona.TrustStrict
	}
	return oona.TrustCompatible
}

// Streams are the streams of the bus under their configured names.
func Streams(set *settings.Settings) oona.Streams {
	streams := oona.DefaultStreams()
	streams.Normal = set.Oona.NormalStream
	streams.Emergency = set.Oona.EmergencyStream
	streams.Telemetry = set.Oona.TelemetryStream
	streams.Policy = set.Oona.PolicyStream
	return streams
}

// Catalog is the blueprint catalogue, with what this deployment permits.
func Catalog(set *settings.Settings) *karn.Catalog {
	return karn.NewCatalogWith(karn.Config{
		Granted:     karn.Grant{Approved: set.Karn.Approved, Quarantine: set.Karn.QuarantineGrant},
		Quarantined: set.Karn.Quarantined,
	})
}
