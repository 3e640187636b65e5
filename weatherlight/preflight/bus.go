package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/admin"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// Names of the checks that ask the bus.
const (
	checkBus         = "bus"
	checkClock       = "clock"
	checkRights      = "rights"
	checkEviction    = "eviction"
	checkPersistence = "persistence"
)

// Bus asks a bus all that a boot needs of it, and returns what it says of itself. It is
// what a boot asks, too.
func Bus(ctx context.Context, bus *oona.Client, set *settings.Settings) (admin.Server, []Check) {
	server, err := bus.Admin().Server(ctx)
	switch {
	case err != nil:
		return server, append(unasked("the bus does not answer"), failed(err).of(checkBus))
	case set.Redis.Embedded(): // It is as new as we are, and keeps nothing.
		return server, embedded()
	}
	takes := takesWrites(ctx, bus, server, set)
	rights := skipped("the bus takes no writes")
	if takes.Result != Failed {
		rights = hasRights(ctx, bus)
	}
	return server, []Check{
		takes, clock(&server), rights.of(checkRights), judged(eviction(server), "none").of(checkEviction), persistence(server),
	}
}

// unasked is all that is to be said while there is no bus to be asked.
func unasked(why string) []Check {
	return []Check{
		clock(nil), skipped(why).of(checkRights), skipped(why).of(checkEviction), skipped(why).of(checkPersistence),
	}
}

// embedded are the answers of the broker in this process.
func embedded() []Check {
	return []Check{
		clock(nil), passed("embedded: nothing is forbidden").of(checkRights),
		passed("embedded: it gives up nothing").of(checkEviction),
		passed("embedded: what it holds ends with the service").of(checkPersistence),
	}
}

// Faults are the checks that failed, as one error; nil without any.
func Faults(checks []Check) error {
	var faults []error
	for _, check := range checks {
		if check.Result == Failed {
			faults = append(faults, fmt.Errorf("%s: %s", check.Name, check.Detail))
		}
	}
	return errors.Join(faults...)
}

func takesWrites(ctx context.Context, bus *oona.Client, server admin.Server, set *settings.Settings) Check {
	err := errors.Join(checkVersion(server), bus.Admin().Writable(ctx, assembly.Streams(set).Names()...))
	unusable := bus.Admin().Unusable(ctx, assembly.Group)
	for _, stream := range slices.Sorted(maps.Keys(unusable)) {
		err = errors.Join(err, fmt.Errorf("%s: %w", stream, unusable[stream]))
	}
	switch {
	case err != nil:
		return failed(err).of(checkBus)
	case server.Version == "":
		return warned("%s does not tell its version", set.Redis.URL).of(checkBus)
	default:
		return passed("%s, %s %s", set.Redis.URL, server.Product, server.Version).of(checkBus)
	}
}

func hasRights(ctx context.Context, bus *oona.Client) Check {
	return judged(bus.CheckRights(ctx, assembly.PartKasmina, assembly.PartTamiyo), "all that a service uses")
}

// clock compares ours with that of the bus, when there is one.
func clock(server *admin.Server) Check {
	now := time.Now()
	err := checkSet(now)
	if server == nil {
		return judged(err, now.UTC().Format(time.RFC3339)+", compared with no other").of(checkClock)
	}
	apart := server.Skew.Abs().Round(time.Microsecond)
	return judged(errors.Join(err, checkSkew(*server)), apart.String()+" apart from the clock of the bus").of(checkClock)
}

// persistence only warns: some want a bus that is empty after each restart.
func persistence(server admin.Server) Check {
	if server.Volatile {
		return warned("no append-only file: what was acknowledged is lost when the bus ends (appendonly yes)").of(checkPersistence)
	}
	return passed("an append-only file, or not told").of(checkPersistence)
}
