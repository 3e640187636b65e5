package assembly

import (
	"fmt"
	"strings"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// Check finds the faults that only the parts can see which the settings speak of.
// Its error is a *settings.Faults. The service refuses to be made with them, and so do the
// tools that work on what is the service's.
func Check(resolved *settings.Settings) error {
	faults := &settings.Faults{}
	add := func(env string, err error) {
		if err != nil {
			faults.List = append(faults.List, settings.Fault{Env: env, Err: err})
		}
	}
	for _, role := range []struct{ env, stream string }{
		{"OONA_NORMAL_STREAM", resolved.Oona.NormalStream},
		{"OONA_EMERGENCY_STREAM", resolved.Oona.EmergencyStream},
		{"OONA_TELEMETRY_STREAM", resolved.Oona.TelemetryStream},
		{"OONA_POLICY_STREAM", resolved.Oona.PolicyStream},
	} {
		add(role.env, checkStream(role.stream))
	}
	add("URZA_SIGNING_KEY_FILE", urza.CheckSigningKey(Library(resolved)))
	add("URZA_TRUSTED_KEYS", urza.CheckTrustedKeys(Library(resolved)))
	add("URZA_ARTIFACT_URL", urza.CheckArtifactURL(Library(resolved)))
	add("TOLARIA_EMERGENCY_SIGNAL_NAME", checkSignals(resolved.Tolaria.RollbackSignal, resolved.Tolaria.EmergencySignal))
	_, err := resolved.Weatherlight.Trust()
	add("ESPER_CA_FILE", err)
	add("KARN_QUARANTINED", checkQuarantined(resolved.Karn.Quarantined))
	if len(faults.List) > 0 {
		return faults
	}
	return nil
}

// checkStream refuses the names of the streams that cannot be configured: what is
// valid on one of them is poison in any other role.
func checkStream(name string) error {
	fixed := oona.DefaultStreams()
	switch name {
	case fixed.KernelRequests, fixed.KernelReady, fixed.KernelErrors, DeadLetters:
		return fmt.Errorf("%q is a stream of another kind, whose name is fixed", name)
	}
	if strings.HasPrefix(name, trainer.StreamPrefix) {
		return fmt.Errorf("%q is the order stream of a run", name)
	}
	if oona.Reserved(name) {
		return fmt.Errorf("%q begins like the keys in which the bus and the records of the runs are kept", name)
	}
	return nil
}

// checkQuarantined refuses ids that the catalogue does not have: a quarantine of
// nothing would leave the blueprint that was meant in use.
func checkQuarantined(ids []string) error {
	catalog := karn.NewCatalog()
	for _, id := range ids {
		if _, err := catalog.Get(id); err != nil {
			return err
		}
	}
	return nil
}

// checkSignals refuses two signals in one segment: each would take the other's
// record for a broken one of its own.
func checkSignals(rollback, emergency string) error {
	if rollback == "" || emergency == "" {
		return nil
	}
	path := shmsignal.Signal{Name: emergency}.Path()
	if (shmsignal.Signal{Name: rollback}).Path() == path {
		return fmt.Errorf("%q is the name of both signals", path)
	}
	return nil
}
