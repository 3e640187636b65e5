package settings_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/settings"
)

const secret = "s3cr3t-value"

// load reads the given NAME=value pairs and .env text; the secret is given.
func load(t *testing.T, envFile string, environ ...string) (*settings.Settings, error) {
	t.Helper()
	return settings.Load(settings.Options{
		Environ: append([]string{"ESPER_LEYLINE_SECRET=" + secret}, environ...),
		EnvFile: writeEnvFile(t, envFile),
	})
}

func mustLoad(t *testing.T, envFile string, environ ...string) *settings.Settings {
	t.Helper()
	s, err := load(t, envFile, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeEnvFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	var faults *settings.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is %T (%v), want *Faults", err, err)
	}
	names := make([]string, len(faults.List))
	for i, fault := range faults.List {
		names[i] = fault.Env
	}
	return names
}

func TestDefaultsAreThePrototypes(t *testing.T) {
	s := mustLoad(t, "")
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"REDIS_URL", s.Redis.URL.Reveal(), "redis://localhost:6379/0"},
		{"OONA_NORMAL_STREAM", s.Oona.NormalStream, "oona.normal"},
		{"OONA_EMERGENCY_STREAM", s.Oona.EmergencyStream, "oona.emergency"},
		{"OONA_TELEMETRY_STREAM", s.Oona.TelemetryStream, "oona.telemetry"},
		{"OONA_POLICY_STREAM", s.Oona.PolicyStream, "oona.policy"},
		{"OONA_EMERGENCY_MAX_PER_MIN", s.Oona.EmergencyPerMinute, 0},
		{"OONA_EMERGENCY_THRESHOLD", s.Oona.EmergencyThreshold, 0},
		{"OONA_MESSAGE_TTL_MS", s.Oona.MessageTTL, 15 * time.Minute},
		{"KERNEL_FRESHNESS_WINDOW_MS", s.Kernel.FreshnessWindow, time.Minute},
		{"KERNEL_NONCE_CACHE_SIZE", s.Kernel.NonceCacheSize, 4096},
		{"TAMIYO_POLICY_DIR", s.Tamiyo.PolicyDir, "./var/tamiyo/policies"},
		{"TAMIYO_CONSERVATIVE_MODE", s.Tamiyo.ConservativeMode, false},
		{"TAMIYO_FIELD_REPORT_RETENTION_HOURS", s.Tamiyo.FieldReportRetention, 24 * time.Hour},
		{"TAMIYO_FR_OBS_WINDOW_EPOCHS", s.Tamiyo.ObservationEpochs, 1},
		{"TAMIYO_VERIFY_UPDATES", s.Tamiyo.VerifyUpdates, true},
		{"TAMIYO_UPDATE_FRESHNESS_SEC", s.Tamiyo.UpdateFreshness, time.Duration(0)},
		{"TAMIYO_STEP_TIMEOUT_MS", s.Tamiyo.StepTimeout, 5 * time.Millisecond},
		{"KASMINA_MIN_TRAINING", s.Kasmina.MinTraining, 3},
		{"KASMINA_TRAIN_EPOCHS", s.Kasmina.TrainEpochs, 12},
		{"KASMINA_ALPHA_SCHEDULE", s.Kasmina.AlphaSchedule, "sigmoid"},
		{"KASMINA_ALPHA_STEPS", s.Kasmina.AlphaSteps, 20},
		{"KASMINA_ALPHA_TEMPERATURE", s.Kasmina.AlphaTemperature, 2.0},
		{"KASMINA_EMBARGO_SECONDS", s.Kasmina.Embargo, 30 * time.Second},
		{"KASMINA_PREFETCH_TIMEOUT_MS", s.Kasmina.PrefetchTimeout, 5 * time.Second},
		{"TEZZERET_FORGE_ON_START", s.Tezzeret.ForgeOnStart, true},
		{"TEZZERET_FEATURES", s.Tezzeret.Features, 32},
		{"URZA_DATABASE_URL", s.Urza.DatabaseURL.Reveal(), "sqlite:///./var/urza/catalog.db"},
		{"URZA_ARTIFACT_DIR", s.Urza.ArtifactDir, "./var/urza/artifacts"},
		{"URZA_CACHE_TTL_SECONDS", s.Urza.CacheTTL, time.Duration(0)},
		{"TOLARIA_ROLLBACK_SIGNAL_NAME", s.Tolaria.RollbackSignal, ""},
		{"TOLARIA_EMERGENCY_SIGNAL_NAME", s.Tolaria.EmergencySignal, ""},
		{"ASYNC_WORKER_MAX_CONCURRENCY", s.Workers.MaxConcurrency, 8},
		{"ASYNC_WORKER_SHUTDOWN_TIMEOUT_S", s.Workers.ShutdownTimeout, 5 * time.Second},
		{"WEATHERLIGHT_HTTP_ADDR", s.Weatherlight.HTTP.Addr, settings.Addr("127.0.0.1:9180")},
		{"WEATHERLIGHT_TELEMETRY_INTERVAL", s.Weatherlight.TelemetryInterval, 10 * time.Second},
		{"WEATHERLIGHT_HOUSEKEEPING_INTERVAL", s.Weatherlight.HousekeepingInterval, time.Minute},
		{"WEATHERLIGHT_BOOT_TIMEOUT", s.Weatherlight.BootTimeout, 30 * time.Second},
		{"WEATHERLIGHT_SHUTDOWN_TIMEOUT", s.Weatherlight.ShutdownTimeout, 10 * time.Second},
		{"NISSA_HTTP_ADDR", s.Nissa.HTTP.Addr, settings.Addr("127.0.0.1:9100")},
		{"ELASTICSEARCH_URL", s.Nissa.ElasticsearchURL.Reveal(), ""},
		{"NISSA_SPOOL_MAX_MB", s.Nissa.SpoolMaxMB, 256},
		{"NISSA_ALERTS_ENABLED", s.Nissa.AlertsEnabled, true},
		{"NISSA_COVERAGE_ALERT_THRESHOLD", s.Nissa.CoverageThreshold, 0.7},
		{"NISSA_COVERAGE_ALERT_CONSECUTIVE", s.Nissa.CoverageConsecutive, 3},
		{"NISSA_BSDS_ELEVATED_RISK_THRESHOLD", s.Nissa.ElevatedRisk, 0.8},
		{"NISSA_COVERAGE_FEATURE_KEYS", len(s.Nissa.CoverageFeatureNames), 0},
		{"ESP_LOG_LEVEL", s.Log.Level.Level(), slog.LevelInfo},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestValuesAreReadInTheUnitOfTheirName(t *testing.T) {
	s := mustLoad(t, "",
		"OONA_MESSAGE_TTL_MS=1500", "TAMIYO_FIELD_REPORT_RETENTION_HOURS=2", "TAMIYO_UPDATE_FRESHNESS_SEC=30",
		"TAMIYO_STEP_TIMEOUT_MS=2.5", "URZA_CACHE_TTL_SECONDS=1h30m", "WEATHERLIGHT_BOOT_TIMEOUT= 7 ",
		"NISSA_COVERAGE_FEATURE_KEYS= a, b ,,c ", "ESP_LOG_LEVEL=warning", "REDIS_URL=embedded:")
	for _, c := range []struct{ got, want any }{
		{s.Oona.MessageTTL, 1500 * time.Millisecond},
		{s.Tamiyo.FieldReportRetention, 2 * time.Hour},
		{s.Tamiyo.UpdateFreshness, 30 * time.Second},
		{s.Tamiyo.StepTimeout, 2500 * time.Microsecond},
		{s.Urza.CacheTTL, 90 * time.Minute},
		{s.Weatherlight.BootTimeout, 7 * time.Second},
		{strings.Join(s.Nissa.CoverageFeatureNames, "+"), "a+b+c"},
		{s.Log.Level.Level(), slog.LevelWarn},
		{s.Redis.Embedded(), true},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

func TestBooleansAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]bool{
		"1": true, "true": true, "YES": true, "On": true, "t": true, "y": true,
		"0": false, "false": false, "No": false, "OFF": false, "f": false, "n": false,
	} {
		if got := mustLoad(t, "", "TEZZERET_FORGE_ON_START="+text).Tezzeret.ForgeOnStart; got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestEnvironmentWinsOverFileAndFileOverDefaults(t *testing.T) {
	s := mustLoad(t, "OONA_NORMAL_STREAM=file.normal\nOONA_POLICY_STREAM=file.policy\nTEZZERET_FEATURES=64\n",
		"OONA_NORMAL_STREAM=env.normal", "OONA_POLICY_STREAM=")
	if s.Oona.NormalStream != "env.normal" {
		t.Errorf("normal stream is %q, want the environment's", s.Oona.NormalStream)
	}
	if s.Oona.PolicyStream != "file.policy" {
		t.Errorf("policy stream is %q: a blank environment variable counts as not set", s.Oona.PolicyStream)
	}
	if s.Tezzeret.Features != 64 || s.Oona.TelemetryStream != "oona.telemetry" {
		t.Errorf("got %d and %q", s.Tezzeret.Features, s.Oona.TelemetryStream)
	}
	sources := map[string]settings.Source{}
	for _, f := range s.Fields() {
		sources[f.Env] = f.Source
	}
	for env, want := range map[string]settings.Source{
		"OONA_NORMAL_STREAM": settings.SourceEnvironment, "OONA_POLICY_STREAM": settings.SourceFile,
		"OONA_TELEMETRY_STREAM": settings.SourceDefault,
	} {
		if sources[env] != want {
			t.Errorf("%s comes from %q, want %q", env, sources[env], want)
		}
	}
}

func TestSecretInEnvFileIsSeen(t *testing.T) {
	path := writeEnvFile(t, "ESPER_LEYLINE_SECRET='pa$$ word'\n")
	s, err := settings.Load(settings.Options{Environ: []string{}, EnvFile: path})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Secret.Reveal(); got != "pa$$ word" {
		t.Errorf("secret is %q", got)
	}
	s, err = settings.Load(settings.Options{Environ: []string{"ESPER_LEYLINE_SECRET=env"}, EnvFile: path})
	if err != nil || s.Secret.Reveal() != "env" {
		t.Errorf("the environment's secret must win: %v", err)
	}
}

func TestShippedExampleLoadsAsItIs(t *testing.T) {
	text, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	got, want := mustLoad(t, string(text)).Fields(), mustLoad(t, "").Fields()
	for i, f := range want {
		if got[i].Value != f.Value {
			t.Errorf("%s: the example gives %q, the default is %q", f.Env, got[i].Value, f.Value)
		}
		if !strings.Contains(string(text), f.Env+"=") {
			t.Errorf("%s is not in .env.example", f.Env)
		}
	}
}

func TestMissingEnvFileIsFine(t *testing.T) {
	_, err := settings.Load(settings.Options{
		Environ: []string{"ESPER_LEYLINE_SECRET=x"}, EnvFile: filepath.Join(t.TempDir(), "none"),
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMissingSecretIsOneLineThatNamesIt(t *testing.T) {
	for _, environ := range [][]string{{}, {"ESPER_LEYLINE_SECRET="}, {"ESPER_LEYLINE_SECRET= \t"}} {
		_, err := settings.Load(settings.Options{Environ: environ, EnvFile: writeEnvFile(t, "")})
		if !errors.Is(err, settings.ErrNoSecret) {
			t.Fatalf("%q: error is %v", environ, err)
		}
		if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, settings.SecretEnv) {
			t.Errorf("%q: %q is not one line that names the variable", environ, text)
		}
	}
	if _, err := settings.Load(settings.Options{Environ: []string{}, EnvFile: writeEnvFile(t, ""), SecretOptional: true}); err != nil {
		t.Errorf("a command that signs nothing needs no secret: %v", err)
	}
}

func TestAllFaultsAreReportedAtOnceByName(t *testing.T) {
	_, err := settings.Load(settings.Options{
		Environ: []string{
			"REDIS_URL=localhost", "OONA_MESSAGE_TTL_MS=soon", "TEZZERET_FEATURES=0", "ESP_LOG_LEVEL=loud",
			"TEZZERET_FORGE_ON_START=maybe", "WEATHERLIGHT_HTTP_ADDR=9180", "NISSA_COVERAGE_ALERT_THRESHOLD=1.5",
		},
		EnvFile: writeEnvFile(t, ""),
	})
	want := []string{
		"ESPER_LEYLINE_SECRET", "REDIS_URL", "OONA_MESSAGE_TTL_MS", "TEZZERET_FORGE_ON_START", "TEZZERET_FEATURES",
		"WEATHERLIGHT_HTTP_ADDR", "NISSA_COVERAGE_ALERT_THRESHOLD", "ESP_LOG_LEVEL",
	}
	if got := faultsOf(t, err); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("faults are\n%v, want\n%v", got, want)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(want)+1 {
		t.Errorf("%d lines for %d faults:\n%v", len(lines), len(want), err)
	}
}

func TestFaultyValues(t *testing.T) {
	for _, assignment := range []string{
		"REDIS_URL=redis:secret@host", "REDIS_URL=redis://", "REDIS_URL=http://localhost", "REDIS_URL=redis://:p%zz@h",
		"URZA_DATABASE_URL=mysql://h/db", "ELASTICSEARCH_URL=localhost:9200", "ELASTICSEARCH_URL=http://",
		"OONA_MESSAGE_TTL_MS=-1", "OONA_MESSAGE_TTL_MS=1e99", "OONA_MESSAGE_TTL_MS=99999999999999999999",
		"WEATHERLIGHT_TELEMETRY_INTERVAL=0", "WEATHERLIGHT_HOUSEKEEPING_INTERVAL=-5s", "WEATHERLIGHT_BOOT_TIMEOUT=fast",
		"TAMIYO_STEP_TIMEOUT_MS=0", "TAMIYO_STALL_GAIN=NaN", "TAMIYO_STALL_GAIN=Inf",
		"KERNEL_NONCE_CACHE_SIZE=0", "KERNEL_NONCE_CACHE_SIZE=4096.5", "KERNEL_NONCE_CACHE_SIZE=99999999999999999999",
		"OONA_NORMAL_STREAM=two words", "OONA_NORMAL_STREAM=a\x00b", "TOLARIA_ROLLBACK_SIGNAL_NAME=../../etc/passwd",
		"WEATHERLIGHT_HTTP_ADDR=localhost:http", "WEATHERLIGHT_HTTP_ADDR=localhost:70000", "NISSA_HTTP_ADDR=http://h:1",
		"TEZZERET_SLOT=wide", "TEZZERET_SLOT=8x0", "TEZZERET_SLOT=8x16x16x3", "TEZZERET_SLOT=8x", "TEZZERET_SLOT=65537",
		"KASMINA_ALPHA_SCHEDULE=step", "KASMINA_MIN_GAIN=0", "KASMINA_MIN_TRAINING=0", "KASMINA_TRAIN_EPOCHS=2",
		"KASMINA_MAX_SHADOWING=1", "KASMINA_MAX_PROBATION=1", "KASMINA_EMBARGO_SECONDS=0", "TAMIYO_MAX_GROWING=65",
		"OONA_TRUST=none", "URZA_FORMAT=zip", "KARN_APPROVED=BP036 BP038", "KARN_QUARANTINE_GRANT=BP0\x0043",
		"ASYNC_WORKER_MAX_CONCURRENCY=-1", "ASYNC_WORKER_SHUTDOWN_TIMEOUT_S=0",
	} {
		name, _, _ := strings.Cut(assignment, "=")
		_, err := load(t, "", assignment)
		if err == nil {
			t.Errorf("%q was accepted", assignment)
			continue
		}
		if got := faultsOf(t, err); len(got) != 1 || got[0] != name {
			t.Errorf("%q: faults are %v", assignment, got)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: one fault takes more than one line: %q", assignment, err)
		}
	}
}

func TestOneStreamCannotHaveTwoRoles(t *testing.T) {
	_, err := load(t, "", "OONA_POLICY_STREAM=oona.normal")
	if got := faultsOf(t, err); len(got) != 1 || got[0] != "OONA_POLICY_STREAM" {
		t.Errorf("faults are %v", got)
	}
}

func TestExplicitlyEmptyAddressTurnsHTTPOff(t *testing.T) {
	for _, value := range []string{"", "  ", "off", "OFF"} {
		if addr := mustLoad(t, "", "WEATHERLIGHT_HTTP_ADDR="+value).Weatherlight.HTTP.Addr; addr != "" {
			t.Errorf("%q: address is %q, want none", value, addr)
		}
	}
	if addr := mustLoad(t, "WEATHERLIGHT_HTTP_ADDR=\n").Weatherlight.HTTP.Addr; addr != "" {
		t.Errorf("empty in .env: address is %q, want none", addr)
	}
	if addr := mustLoad(t, "", "NISSA_HTTP_ADDR=").Nissa.HTTP.Addr; addr != "127.0.0.1:9100" {
		t.Errorf("Nissa's address is %q: elsewhere empty means the default", addr)
	}
}

// What an earlier release read may still be set where it is upgraded.
func TestNamesThatNothingReadsAnyMoreDoNotFailTheBoot(t *testing.T) {
	for _, name := range []string{"TAMIYO_WAL_STRICT_VALIDATION", "TAMIYO_FIELD_REPORT_MAX_RETRIES"} {
		mustLoad(t, name+"=neither\n", name+"=a number nor a flag")
	}
}

func TestInstanceNameIsOneWord(t *testing.T) {
	s := mustLoad(t, "", "WEATHERLIGHT_INSTANCE= rack 7\tleft ")
	if got := s.Weatherlight.Consumer(); got != "weatherlight-rack-7-left" {
		t.Errorf("consumer is %q", got)
	}
	if host := mustLoad(t, "").Weatherlight.Instance; host == "" || strings.ContainsAny(host, " \t") {
		t.Errorf("default instance is %q", host)
	}
}

func TestBrokenEnvFileIsNamedWithItsLineAndWithoutItsText(t *testing.T) {
	for text, line := range map[string]string{
		"A=1\n\nESPER_LEYLINE_SECRET=\"hidden-word\nB=2\n": "line 3 ",
		"A=1\nhidden-word\nB=2\n":                          "line 2 ",
		"A='x\ny'\nnot-a key=hidden-word":                  "line 3 ",
		"A=1\nhidden_word":                                 "line 2 ",
	} {
		_, err := load(t, text)
		if err == nil {
			t.Errorf("%q was accepted", text)
			continue
		}
		if got := err.Error(); !strings.Contains(got, ".env") || !strings.Contains(got, line) || strings.Contains(got, "hidden") {
			t.Errorf("%q: error is %q", text, got)
		}
	}
	if _, err := load(t, strings.Repeat("#", 70_000)); err == nil {
		t.Error("a .env file of 70 kB was accepted")
	}
}

func TestKernelLibraryOfSeveralMachines(t *testing.T) {
	s := mustLoad(t, "", "URZA_ARTIFACT_URL=s3://bucket/kernels?endpoint=http://127.0.0.1:9000&region=eu",
		"URZA_S3_ACCESS_KEY=librarian", "URZA_S3_SECRET_KEY=hunter2", "URZA_TRUSTED_KEYS= RWone , /etc/urza.pub ,",
		"URZA_DATABASE_URL=postgres://urza:hunter2@db/urza", "URZA_RETENTION_DAYS=30", "URZA_SCRUB_INTERVAL_HOURS=0.5")
	if got := s.Urza.ArtifactURL.Reveal(); got != "s3://bucket/kernels?endpoint=http://127.0.0.1:9000&region=eu" {
		t.Error(got)
	}
	if s.Urza.Retention() != 30*24*time.Hour || s.Urza.ScrubInterval != 30*time.Minute || len(s.Urza.TrustedKeys) != 2 {
		t.Errorf("%+v", s.Urza)
	}
	for _, field := range s.Fields() {
		if strings.Contains(field.Value, "hunter2") {
			t.Errorf("%s prints a password", field.Env)
		}
	}
	if plain := mustLoad(t, ""); plain.Urza.ArtifactURL.Reveal() != "" {
		t.Error("a store by default")
	}
	_, err := load(t, "", "URZA_ARTIFACT_URL=https://bucket", "URZA_RETENTION_DAYS=-1")
	if names := faultsOf(t, err); len(names) != 2 {
		t.Errorf("faults: %v", names)
	}
	if _, err := load(t, "", "URZA_ARTIFACT_URL=s3://"); err == nil {
		t.Error("a store without a bucket")
	}
}

// Kasmina would never decide on a seed that learns to the end of its time.
func TestNoSeedIsTooOldBeforeItCanBeKept(t *testing.T) {
	for _, test := range []struct {
		assignments []string
		refused     bool
	}{
		{[]string{"KASMINA_TRAIN_EPOCHS=50"}, true},
		{[]string{"KASMINA_TRAIN_EPOCHS=50", "TAMIYO_MAX_SEED_AGE_EPOCHS=60"}, false},
		{[]string{"KASMINA_MIN_PROBATION=30", "KASMINA_MAX_PROBATION=30"}, true},
		{[]string{"TAMIYO_MAX_SEED_AGE_EPOCHS=17"}, true}, // 12, 1 in BLENDING, 2 and 2
		{[]string{"TAMIYO_MAX_SEED_AGE_EPOCHS=18"}, false},
		{[]string{"TAMIYO_MAX_SEED_AGE_EPOCHS=17", "KASMINA_MIN_SHADOWING=1"}, false},
	} {
		_, err := load(t, "", test.assignments...)
		if (err != nil) != test.refused {
			t.Errorf("%v: %v", test.assignments, err)
			continue
		}
		if test.refused && !slices.Equal(faultsOf(t, err), []string{"TAMIYO_MAX_SEED_AGE_EPOCHS"}) {
			t.Errorf("%v: faults are %v", test.assignments, faultsOf(t, err))
		}
	}
}
