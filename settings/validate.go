package settings

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// validate adds the faults that concern more than one variable, or none.
func (s *Settings) validate(faults *Faults, secretOptional bool) {
	switch {
	case secretOptional: // nobody signs: no secret is looked at
	case s.SecretFile != "":
		if _, _, err := s.Secrets(); err != nil {
			faults.add(SecretFileEnv, err)
		}
	case s.Secret.Reveal() == "":
		faults.List = append([]Fault{{Env: SecretEnv, Err: ErrNoSecret}}, faults.List...)
	}
	s.Oona.validate(faults)
	s.Kasmina.validate(faults)
	validateAge(s.Tamiyo.MaxSeedAge, s.Kasmina, faults)
	s.Weatherlight.validate(faults)
	s.Weatherlight.Listener().validate("WEATHERLIGHT_HTTP", faults)
	s.Nissa.Listener().validate("NISSA_HTTP", faults)
}

// maxInstance bounds the name of an instance, in bytes: it is part of keys on the bus, of
// each envelope and of each line of the log.
const maxInstance = 128

var (
	errInstance = fmt.Errorf("must have at most %d bytes of UTF-8, without control characters", maxInstance)

	errAdvertise = errors.New("must be http(s)://host:port, or with a path, and hold no user, query or fragment")
)

func (w Weatherlight) validate(faults *Faults) {
	if unfit := func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }; len(w.Instance) > maxInstance ||
		!utf8.ValidString(w.Instance) || strings.ContainsFunc(w.Instance, unfit) {
		faults.add("WEATHERLIGHT_INSTANCE", errInstance)
	}
	if faults.has("WEATHERLIGHT_ADVERTISE_URL") {
		return
	}
	advertised, err := url.Parse(w.AdvertiseURL.Reveal())
	if err != nil || advertised.User != nil || strings.ContainsAny(w.AdvertiseURL.Reveal(), "?#") {
		faults.add("WEATHERLIGHT_ADVERTISE_URL", errAdvertise)
	}
}

// validate refuses one stream in two roles: a stream's role decides which
// messages are valid on it, so each role would poison the other.
func (o Oona) validate(faults *Faults) {
	roles := []struct{ env, stream string }{
		{"OONA_NORMAL_STREAM", o.NormalStream},
		{"OONA_EMERGENCY_STREAM", o.EmergencyStream},
		{"OONA_TELEMETRY_STREAM", o.TelemetryStream},
		{"OONA_POLICY_STREAM", o.PolicyStream},
	}
	taken := map[string]string{}
	for _, role := range roles {
		other, twice := taken[role.stream]
		if twice && !faults.has(role.env) && !faults.has(other) {
			faults.add(role.env, fmt.Errorf("%q is already the stream of %s", role.stream, other))
			continue
		}
		taken[role.stream] = role.env
	}
}

// validate refuses a stage that ends before a seed may leave it.
func (k Kasmina) validate(faults *Faults) {
	for _, stage := range []struct {
		least, most     string
		atLeast, atMost int
	}{
		{"KASMINA_MIN_TRAINING", "KASMINA_TRAIN_EPOCHS", k.MinTraining, k.TrainEpochs},
		{"KASMINA_MIN_SHADOWING", "KASMINA_MAX_SHADOWING", k.MinShadowing, k.MaxShadowing},
		{"KASMINA_MIN_PROBATION", "KASMINA_MAX_PROBATION", k.MinProbation, k.MaxProbation},
	} {
		if stage.atLeast > stage.atMost && !faults.has(stage.least) && !faults.has(stage.most) {
			faults.add(stage.most, fmt.Errorf("%d is below %s, %d", stage.atMost, stage.least, stage.atLeast))
		}
	}
}

// validateAge refuses an age at which a seed that learns for as long as it may is culled before it
// can be kept.
func validateAge(oldest int, k Kasmina, faults *Faults) {
	const age = "TAMIYO_MAX_SEED_AGE_EPOCHS"
	asked := []string{"KASMINA_TRAIN_EPOCHS", "KASMINA_MIN_SHADOWING", "KASMINA_MIN_PROBATION"}
	life := k.TrainEpochs + 1 + k.MinShadowing + k.MinProbation // with a report in BLENDING
	if oldest > life || faults.has(age) || slices.ContainsFunc(asked, faults.has) {
		return
	}
	faults.add(age, fmt.Errorf("%d is not above %d, the sum of %s and of a report in BLENDING: no seed that learns so long would be kept",
		oldest, life, strings.Join(asked, ", ")))
}
