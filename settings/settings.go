package settings

import (
	"path/filepath"
	"time"
)

// Settings is the whole configuration, one group for each part. The tags of a
// field are its documentation: env names the variable, envDefault its default,
// doc says what it means, unit is the unit of a bare number, and min, max,
// form and schemes say what is accepted.
//
// A blank value means the default. A bare number in a variable with a unit
// counts that unit (the prototype's form); 1h30m, 10s and 250ms are accepted
// too.
type Settings struct {
	Secret         Secret `env:"ESPER_LEYLINE_SECRET" envDefault:"" doc:"The shared secret that signs envelopes and commands. Required, unless ESPER_LEYLINE_SECRET_FILE is set."`
	SecretPrevious Secret `env:"ESPER_LEYLINE_SECRET_PREVIOUS" envDefault:"" doc:"Comma-separated secrets that are accepted as well but sign nothing: the old one, or the next one, while a secret is rotated."`
	SecretFile     string `env:"ESPER_LEYLINE_SECRET_FILE" envDefault:"" names:"file" doc:"File of secrets, UTF-8, one a line: the first signs, the others are accepted, and so are those of the two variables above. Read again when it changes and on SIGHUP."`

	Redis        Redis
	Oona         Oona
	Kernel       Kernel
	Tamiyo       Tamiyo
	Kasmina      Kasmina
	Karn         Karn
	Tezzeret     Tezzeret
	Urza         Urza
	Tolaria      Tolaria
	Workers      Workers
	Weatherlight Weatherlight
	Nissa        Nissa
	Log          Log

	read reading
}

// reading is what was found in the sources.
type reading struct {
	fields   []Field
	misspelt []Misspelt
}

// Redis says which broker carries the bus.
type Redis struct {
	URL URL `env:"REDIS_URL" envDefault:"redis://localhost:6379/0" schemes:"redis rediss unix embedded" doc:"The broker. embedded: starts a volatile one inside the process."`
}

// Embedded reports whether the process is to start its own broker.
func (r Redis) Embedded() bool { return r.URL.scheme() == "embedded" }

// Oona holds the names and limits of the message bus.
type Oona struct {
	NormalStream       string        `env:"OONA_NORMAL_STREAM" envDefault:"oona.normal" form:"name" doc:"Stream of states, commands and field reports."`
	EmergencyStream    string        `env:"OONA_EMERGENCY_STREAM" envDefault:"oona.emergency" form:"name" doc:"Stream of emergencies and of what has the highest priority."`
	TelemetryStream    string        `env:"OONA_TELEMETRY_STREAM" envDefault:"oona.telemetry" form:"name" doc:"Stream of telemetry packets."`
	PolicyStream       string        `env:"OONA_POLICY_STREAM" envDefault:"oona.policy" form:"name" doc:"Stream of policy updates."`
	EmergencyPerMinute int           `env:"OONA_EMERGENCY_MAX_PER_MIN" envDefault:"0" min:"0" doc:"Most emergency messages published in a minute; 0 is unlimited."`
	EmergencyThreshold int           `env:"OONA_EMERGENCY_THRESHOLD" envDefault:"0" min:"0" doc:"Backlog at which a stream counts as full for oona_conservative_mode, which is told from nine tenths of it; 0 is the stream's bound of 10000. No message takes another stream for it."`
	Trust              string        `env:"OONA_TRUST" envDefault:"compatible" form:"trust" doc:"compatible takes messages of prototype peers, which sign neither stream nor time; strict refuses them."`
	DeadLetterTTL      time.Duration `env:"OONA_DEAD_LETTER_TTL_HOURS" envDefault:"168" unit:"h" min:"0" doc:"Age at which housekeeping removes dead letters; 0 is off."`
	MessageTTL         time.Duration `env:"OONA_MESSAGE_TTL_MS" envDefault:"900000" unit:"ms" min:"0" doc:"Age at which housekeeping trims messages; 0 is off."`
}

// Kernel bounds the age and the repetition of kernel requests.
type Kernel struct {
	FreshnessWindow time.Duration `env:"KERNEL_FRESHNESS_WINDOW_MS" envDefault:"60000" unit:"ms" min:"0" doc:"Oldest kernel request that is served; 0 is off."`
	NonceCacheSize  int           `env:"KERNEL_NONCE_CACHE_SIZE" envDefault:"4096" min:"1" max:"16777216" doc:"Ids of requests and answers that each process remembers, beside those in Redis, to refuse replays."`
}

// Tamiyo configures the controller, its policies and its field reports.
type Tamiyo struct {
	PolicyDir            string        `env:"TAMIYO_POLICY_DIR" envDefault:"./var/tamiyo/policies" doc:"Folder of the policies. The log of field reports lies in the folder above it, which no other instance may have."`
	ConservativeMode     bool          `env:"TAMIYO_CONSERVATIVE_MODE" envDefault:"false" doc:"Every run is conservative: its seeds leave the output, and none is begun."`
	FieldReportRetention time.Duration `env:"TAMIYO_FIELD_REPORT_RETENTION_HOURS" envDefault:"24" unit:"h" min:"1s" doc:"How long field reports are kept, the last 64 MiB of them at most."`
	ObservationEpochs    int           `env:"TAMIYO_FR_OBS_WINDOW_EPOCHS" envDefault:"1" min:"1" max:"100000" doc:"Reports with a validation loss that are watched after a seed was kept, for one more field report on what they showed; 1 is none."`
	VerifyUpdates        bool          `env:"TAMIYO_VERIFY_UPDATES" envDefault:"true" doc:"Also refuse policy updates past the freshness bound, and policies whose version is longer than 128 bytes, that of the rules or that of another one that is kept; one without a version cannot decide. Signature, order, size and checksum are always checked; what a payload is shows when it is to decide."`
	UpdateFreshness      time.Duration `env:"TAMIYO_UPDATE_FRESHNESS_SEC" envDefault:"0" unit:"s" min:"0" doc:"Oldest policy update that is accepted when updates are verified; 0 is off."`
	StepTimeout          time.Duration `env:"TAMIYO_STEP_TIMEOUT_MS" envDefault:"5.0" unit:"ms" min:"1us" doc:"Time that one decision may ask the kernel library and the policies for. Beyond it the run is paused until a report is decided in time."`

	StallEpochs int     `env:"TAMIYO_STALL_EPOCHS" envDefault:"8" min:"1" max:"100000" doc:"Reports without a better validation loss after which a seed is spent on a run."`
	StallGain   float64 `env:"TAMIYO_STALL_GAIN" envDefault:"0.005" min:"0.000001" max:"1" doc:"Relative fall of the validation loss that counts as better."`
	MaxGrowing  int     `env:"TAMIYO_MAX_GROWING" envDefault:"1" min:"1" max:"64" doc:"Seeds of one run that grow at a time, one a slot."`
	MaxSeedAge  int     `env:"TAMIYO_MAX_SEED_AGE_EPOCHS" envDefault:"40" min:"1" max:"1000000" doc:"Reports, in the host and not paused, after which a seed that has earned nothing is culled. Above KASMINA_TRAIN_EPOCHS + KASMINA_MIN_SHADOWING + KASMINA_MIN_PROBATION + 1."`
}

// ReportFolder is where the log of field reports lies: the parent of the policies.
func (t Tamiyo) ReportFolder() string { return filepath.Dir(filepath.Clean(t.PolicyDir)) }

// ReportFile is that log.
func (t Tamiyo) ReportFile() string { return filepath.Join(t.ReportFolder(), "field_reports.log") }

// Freshness is the age at which a policy update is refused; 0 is never.
func (t Tamiyo) Freshness() time.Duration {
	if !t.VerifyUpdates {
		return 0
	}
	return t.UpdateFreshness
}

// Kasmina holds what a seed must show to move on, and the times of its life. A
// GERMINATE command sets the rules and the ramp of its own seed by annotations:
// promotion_min_training and so on, and alpha_schedule and so on. Tamiyo's commands
// carry the rules that are set here.
type Kasmina struct {
	MinTraining   int     `env:"KASMINA_MIN_TRAINING" envDefault:"3" min:"1" max:"1000000" doc:"Reports in TRAINING before a seed may leave it."`
	TrainEpochs   int     `env:"KASMINA_TRAIN_EPOCHS" envDefault:"12" min:"1" max:"1000000" doc:"Reports in TRAINING after which it is decided."`
	Plateau       int     `env:"KASMINA_PLATEAU" envDefault:"3" min:"1" max:"1000000" doc:"Reports without a better seed loss that count as converged."`
	PlateauGain   float64 `env:"KASMINA_PLATEAU_GAIN" envDefault:"0.01" min:"0.000001" max:"1" doc:"Relative fall of the seed loss that counts as better."`
	MaxBlending   int     `env:"KASMINA_MAX_BLENDING" envDefault:"60" min:"1" max:"1000000" doc:"Reports in BLENDING after which a ramp that has not ended fails."`
	MinShadowing  int     `env:"KASMINA_MIN_SHADOWING" envDefault:"2" min:"1" max:"1000000" doc:"Reports in SHADOWING before a seed may leave it."`
	MaxShadowing  int     `env:"KASMINA_MAX_SHADOWING" envDefault:"10" min:"1" max:"1000000" doc:"Reports in SHADOWING after which a seed that has earned nothing is culled."`
	MinProbation  int     `env:"KASMINA_MIN_PROBATION" envDefault:"2" min:"1" max:"1000000" doc:"Reports in PROBATIONARY before a seed may be kept."`
	MaxProbation  int     `env:"KASMINA_MAX_PROBATION" envDefault:"10" min:"1" max:"1000000" doc:"Reports in PROBATIONARY after which a seed that has earned nothing is culled."`
	MinGain       float64 `env:"KASMINA_MIN_GAIN" envDefault:"0.01" min:"0.000001" max:"1" doc:"Relative fall of the held-out loss that a seed must bring."`
	AccuracyGain  float64 `env:"KASMINA_ACCURACY_GAIN" envDefault:"0.005" min:"0.000001" max:"1" doc:"Held-out accuracy, 0 to 1, that it may bring instead."`
	MaxRegression float64 `env:"KASMINA_MAX_REGRESSION" envDefault:"0.02" min:"0.000001" max:"1000" doc:"Relative rise of the held-out loss that culls a seed at once."`
	Sigma         float64 `env:"KASMINA_SIGMA" envDefault:"1" min:"0.000001" max:"1000" doc:"Standard errors of the measure that a gain must exceed."`
	AutoFossilize bool    `env:"KASMINA_AUTO_FOSSILIZE" envDefault:"false" doc:"Keep a seed as soon as it has earned it, without waiting for the controller's command."`

	AlphaSchedule    string  `env:"KASMINA_ALPHA_SCHEDULE" envDefault:"sigmoid" form:"ramp" doc:"Shape of a seed's ramp in BLENDING: sigmoid, linear or cosine."`
	AlphaSteps       int     `env:"KASMINA_ALPHA_STEPS" envDefault:"20" min:"0" max:"16777216" doc:"Optimizer steps of the ramp."`
	AlphaTemperature float64 `env:"KASMINA_ALPHA_TEMPERATURE" envDefault:"2" min:"0.000001" max:"16777216" doc:"Temperature of the sigmoid, in steps."`
	AlphaWarmUpSteps int     `env:"KASMINA_ALPHA_WARMUP_STEPS" envDefault:"0" min:"0" max:"16777216" doc:"Steps with a share of 0 before the ramp."`
	AlphaHoldSteps   int     `env:"KASMINA_ALPHA_HOLD_STEPS" envDefault:"0" min:"0" max:"16777216" doc:"Steps at the end of the ramp before it counts as done."`

	MaxGradientNorm   float64       `env:"KASMINA_MAX_GRADIENT_NORM" envDefault:"1000" min:"0.000001" doc:"Largest norm of a seed's gradient that passes gate G1."`
	MaxGradientCosine float64       `env:"KASMINA_MAX_GRADIENT_COSINE" envDefault:"1" min:"0.000001" max:"1" doc:"Largest cosine, by its size, of the gradients of host loss and seed loss that is no breach of isolation; 1 allows all."`
	LatencyBudget     time.Duration `env:"KASMINA_LATENCY_BUDGET_MS" envDefault:"50" unit:"ms" min:"1us" doc:"Longest forward pass of a seed that passes gate G2."`
	Embargo           time.Duration `env:"KASMINA_EMBARGO_SECONDS" envDefault:"30" unit:"s" min:"1ms" doc:"Pause between the cull of a seed and its reset."`
	Takeover          time.Duration `env:"KASMINA_TAKEOVER_SECONDS" envDefault:"60" unit:"s" min:"1ms" doc:"Silence, if three report intervals are not longer, after which another trainer may take a run over."`
	PrefetchTimeout   time.Duration `env:"KASMINA_PREFETCH_TIMEOUT_MS" envDefault:"5000" unit:"ms" min:"1ms" doc:"Time that the answer to a kernel request may take at first; it follows the latency that is measured."`
}

// Karn says which blueprints this deployment permits.
type Karn struct {
	Approved        []string `env:"KARN_APPROVED" envDefault:"" form:"blueprints" doc:"Comma-separated ids of blueprints that are approved: those that ask for an approval are compiled, offered and served only then. esperctl kernels approve approves one stored kernel."`
	Quarantined     []string `env:"KARN_QUARANTINED" envDefault:"" form:"blueprints" doc:"Comma-separated ids of blueprints to keep in quarantine, besides the adversarial ones, which always are."`
	QuarantineGrant []string `env:"KARN_QUARANTINE_GRANT" envDefault:"" form:"blueprints" doc:"Comma-separated ids of quarantined blueprints that may be compiled and served all the same, because the whole deployment is a quarantine."`
}

// Tezzeret configures the forge.
type Tezzeret struct {
	ForgeOnStart bool  `env:"TEZZERET_FORGE_ON_START" envDefault:"true" doc:"Compile what the library lacks once the service is ready."`
	Features     int   `env:"TEZZERET_FEATURES" envDefault:"32" min:"1" max:"65536" doc:"Width of the host layer that kernels are compiled for, when it is a vector of features."`
	Slot         Sizes `env:"TEZZERET_SLOT" envDefault:"" default:"a vector of TEZZERET_FEATURES" doc:"Shape of the host layer that kernels are compiled for, without the batch: 32 (features), 12x32 (sequence x width) or 8x16x16 (channels x height x width)."`
}

// SlotSizes is the shape of the host layer without the batch: one size for
// features, two for a sequence, three for an image.
func (t Tezzeret) SlotSizes() []int {
	if len(t.Slot) == 0 {
		return []int{t.Features}
	}
	return t.Slot
}

// Urza configures the kernel library.
type Urza struct {
	DatabaseURL URL           `env:"URZA_DATABASE_URL" envDefault:"sqlite:///./var/urza/catalog.db" schemes:"sqlite postgres postgresql" doc:"Catalogue of the kernel library: a SQLite file, or a PostgreSQL database that several machines share."`
	ArtifactDir string        `env:"URZA_ARTIFACT_DIR" envDefault:"./var/urza/artifacts" doc:"Folder of the compiled kernels."`
	CacheTTL    time.Duration `env:"URZA_CACHE_TTL_SECONDS" envDefault:"0" unit:"s" min:"0" doc:"Age at which cached catalogue rows are read again; 0 is never."`

	ArtifactURL URL    `env:"URZA_ARTIFACT_URL" envDefault:"" schemes:"s3" default:"none: the folder" doc:"S3-compatible store of the compiled kernels, instead of the folder: s3://bucket/prefix?endpoint=http://host:port&region=name. Kernels that lie in the folder are still served."`
	S3AccessKey Secret `env:"URZA_S3_ACCESS_KEY" envDefault:"" doc:"Access key of that store; blank together with the secret key is anonymous."`
	S3SecretKey Secret `env:"URZA_S3_SECRET_KEY" envDefault:"" doc:"Secret key of that store."`

	SigningKeyFile     string   `env:"URZA_SIGNING_KEY_FILE" envDefault:"" names:"file" doc:"File with a minisign secret key: each saved kernel gets a .minisig beside it. Blank signs nothing."`
	SigningKeyPassword Secret   `env:"URZA_SIGNING_KEY_PASSWORD" envDefault:"" doc:"Password of that file; blank when it has none."`
	TrustedKeys        []string `env:"URZA_TRUSTED_KEYS" envDefault:"" names:"file" doc:"Comma-separated minisign public keys, each the key itself or the path of its .pub file: only kernels that one of them signed are served. Blank asks for no signature."`
	RequireApproval    bool     `env:"URZA_REQUIRE_APPROVAL" envDefault:"false" doc:"Serve blueprints that ask for an approval only after esperctl kernels approve: KARN_APPROVED is not enough then."`

	Format      string `env:"URZA_FORMAT" envDefault:"" form:"format" default:"any" doc:"The only format of kernels that is served, onnx or pt; with pt, for seeds of the prototype, nothing is forged. Blank serves what is there."`
	MaxVariants int    `env:"URZA_MAX_VARIANTS" envDefault:"256" min:"1" max:"1000000" doc:"Most kernels for other slots and parameters that are kept of one blueprint; those unused for longest make room, but none that was used within the last hour."`

	ScrubInterval       time.Duration `env:"URZA_SCRUB_INTERVAL_HOURS" envDefault:"24" unit:"h" min:"0" doc:"Pause between two passes that read every kernel again and set damaged ones aside; 0 is off."`
	ScrubBytesPerSecond int           `env:"URZA_SCRUB_BYTES_PER_SECOND" envDefault:"8388608" min:"1024" doc:"Most bytes that a pass reads in a second."`
	RetentionDays       int           `env:"URZA_RETENTION_DAYS" envDefault:"0" min:"0" max:"36500" doc:"Days after which a kernel file that no blueprint refers to any more is removed; 0 keeps them. Kernels of variants that made room, were replaced or found no room go after a day in any case."`
}

// Retention is how long unreferenced kernel files are kept; 0 is for ever.
func (u Urza) Retention() time.Duration { return time.Duration(u.RetentionDays) * 24 * time.Hour }

// Tolaria names the shared-memory signals that a trainer may raise. A blank
// name means that the signal is not watched.
type Tolaria struct {
	RollbackSignal  string `env:"TOLARIA_ROLLBACK_SIGNAL_NAME" envDefault:"" form:"signal" doc:"Shared-memory name of the rollback signal; blank is none."`
	EmergencySignal string `env:"TOLARIA_EMERGENCY_SIGNAL_NAME" envDefault:"" form:"signal" doc:"Shared-memory name of the emergency signal; blank is none."`
}

// Workers bounds the work that one worker does at a time.
type Workers struct {
	MaxConcurrency  int           `env:"ASYNC_WORKER_MAX_CONCURRENCY" envDefault:"8" min:"1" max:"4096" doc:"Messages that one worker handles at a time."`
	ShutdownTimeout time.Duration `env:"ASYNC_WORKER_SHUTDOWN_TIMEOUT_S" envDefault:"5.0" unit:"s" min:"1ms" doc:"Time that a worker gets to finish what it holds before it is cancelled."`
}

// Listener says where a service answers by HTTP, and whom.
type Listener struct {
	Addr      Addr
	Token     Secret // lets in who sends it
	TokenFile string // of more tokens, one a line
	CertFile  string // PEM; with the key: HTTPS
	KeyFile   string
}

// weatherlightHTTP is the Listener of Weatherlight.
type weatherlightHTTP struct {
	Addr      Addr   `env:"WEATHERLIGHT_HTTP_ADDR" envDefault:"127.0.0.1:9180" empty:"off" doc:"Address of /healthz, /readyz, /metrics, /status, /runs and /kernels. Set but empty (or off) turns it off. One that other machines reach needs a token."`
	Token     Secret `env:"WEATHERLIGHT_HTTP_TOKEN" envDefault:"" doc:"Bearer token that is needed for all but /healthz and /readyz when that address can be reached from other machines: at least 16 visible ASCII letters. On loopback none is asked for. esperctl and trainers send it."`
	TokenFile string `env:"WEATHERLIGHT_HTTP_TOKEN_FILE" envDefault:"" names:"file" doc:"File of such tokens, one a line: each lets in, the first is sent. Read again when it changes."`
	CertFile  string `env:"WEATHERLIGHT_HTTP_TLS_CERT_FILE" envDefault:"" doc:"File with the certificate of the service and those that it was signed with, PEM: it answers by HTTPS alone. Read again when it changes."`
	KeyFile   string `env:"WEATHERLIGHT_HTTP_TLS_KEY_FILE" envDefault:"" names:"file" doc:"File with the key of that certificate, PEM without a password."`
}

// Weatherlight configures the foundation service.
type Weatherlight struct {
	HTTP                 weatherlightHTTP
	URL                  URL           `env:"WEATHERLIGHT_URL" envDefault:"" schemes:"http https" default:"that address" doc:"Where esperctl asks Weatherlight, for example https://weatherlight.example:9180."`
	AdvertiseURL         URL           `env:"WEATHERLIGHT_ADVERTISE_URL" envDefault:"" schemes:"http https" default:"that address" doc:"Where trainers find /kernels: http(s)://host:port, or with the path of a proxy before it."`
	CAFile               string        `env:"ESPER_CA_FILE" envDefault:"" default:"those of the machine" doc:"File of certificates, PEM, of those who sign those of Weatherlight and Nissa: esperctl, trainers and the watch on NISSA_URL trust them beside those of the machine."`
	DataDir              string        `env:"WEATHERLIGHT_DATA_DIR" envDefault:"./var/weatherlight" doc:"Folder of a lock file, of the outbox and of the forge's journal."`
	Instance             string        `env:"WEATHERLIGHT_INSTANCE" envDefault:"" default:"the host name" doc:"Name of this instance; its consumer on the bus is weatherlight-<instance>. Blanks become dashes; at most 128 bytes."`
	TelemetryInterval    time.Duration `env:"WEATHERLIGHT_TELEMETRY_INTERVAL" envDefault:"10s" unit:"s" min:"1ms" doc:"Pause between two summary packets."`
	HousekeepingInterval time.Duration `env:"WEATHERLIGHT_HOUSEKEEPING_INTERVAL" envDefault:"60s" unit:"s" min:"1ms" doc:"Pause between two rounds of housekeeping."`
	BootTimeout          time.Duration `env:"WEATHERLIGHT_BOOT_TIMEOUT" envDefault:"30s" unit:"s" min:"1ms" doc:"Time that the boot may take."`
	ShutdownTimeout      time.Duration `env:"WEATHERLIGHT_SHUTDOWN_TIMEOUT" envDefault:"10s" unit:"s" min:"1ms" doc:"Time that the stop may take."`
	NissaURL             URL           `env:"NISSA_URL" envDefault:"" schemes:"http https" doc:"Where a running Nissa answers, for example http://127.0.0.1:9100: its state is shown, nothing depends on it. Blank asks nobody."`
}

// Listener is where Weatherlight answers.
func (w Weatherlight) Listener() Listener { return Listener(w.HTTP) }

// Consumer is the stable name of this instance's consumer in its groups, so
// that a restart finds what it had not acknowledged.
func (w Weatherlight) Consumer() string { return "weatherlight-" + w.Instance }

// OutboxFile is where messages wait for the bus.
func (w Weatherlight) OutboxFile() string { return filepath.Join(w.DataDir, "outbox.db") }

// nissaHTTP is the Listener of Nissa.
type nissaHTTP struct {
	Addr      Addr   `env:"NISSA_HTTP_ADDR" envDefault:"127.0.0.1:9100" doc:"Address of Nissa's page, of /api, /metrics, /healthz and /readyz. One that other machines reach needs a token."`
	Token     Secret `env:"NISSA_HTTP_TOKEN" envDefault:"" doc:"Bearer token that is needed to change anything at Nissa, such as to replay a dead letter or to silence an alert, and for all but the page's own files, /healthz and /readyz when that address can be reached from other machines: at least 16 visible ASCII letters. esperctl sends it."`
	TokenFile string `env:"NISSA_HTTP_TOKEN_FILE" envDefault:"" names:"file" doc:"File of such tokens, one a line: each lets in, the first is sent. Read again when it changes."`
	CertFile  string `env:"NISSA_HTTP_TLS_CERT_FILE" envDefault:"" doc:"File with the certificate of Nissa and those that it was signed with, PEM: it answers by HTTPS alone. Read again when it changes."`
	KeyFile   string `env:"NISSA_HTTP_TLS_KEY_FILE" envDefault:"" names:"file" doc:"File with the key of that certificate, PEM without a password."`
}

// Nissa configures the observability service.
type Nissa struct {
	HTTP                 nissaHTTP
	DatabaseURL          URL      `env:"NISSA_DATABASE_URL" envDefault:"sqlite:///./var/nissa/runs.db" schemes:"sqlite postgres postgresql" doc:"Store of training runs: a SQLite file, or a PostgreSQL database that several Nissas share."`
	RetentionDays        int      `env:"NISSA_RETENTION_DAYS" envDefault:"30" min:"1" max:"36500" doc:"Days after which reports and events, and runs that are not heard of any more, are removed from the store."`
	StoreMaxMB           int      `env:"NISSA_STORE_MAX_MB" envDefault:"1024" min:"1" max:"16777216" doc:"About the most that the store keeps, in MB; from there on the run that was heard of longest ago makes room."`
	DataDir              string   `env:"NISSA_DATA_DIR" envDefault:"./var/nissa" doc:"Folder in which documents wait for Elasticsearch."`
	RulesFile            string   `env:"NISSA_RULES_FILE" envDefault:"" doc:"File of rules, receivers and objectives. Read again on SIGHUP. Blank is the shipped one, which tells nobody: its alerts are logged and shown."`
	ElasticsearchURL     URL      `env:"ELASTICSEARCH_URL" envDefault:"" schemes:"http https" doc:"Elasticsearch or OpenSearch in which Nissa keeps packets, states and field reports as documents, for example http://localhost:9200. Blank keeps none."`
	SpoolMaxMB           int      `env:"NISSA_SPOOL_MAX_MB" envDefault:"256" min:"1" max:"16777216" doc:"The most that documents take on the disk while they wait for ELASTICSEARCH_URL, in MB; from there on new ones are dropped."`
	AlertsEnabled        bool     `env:"NISSA_ALERTS_ENABLED" envDefault:"true" doc:"Look at what is heard by the alert rules, and count for the objectives."`
	CoverageThreshold    float64  `env:"NISSA_COVERAGE_ALERT_THRESHOLD" envDefault:"0.7" min:"0" max:"1" doc:"Feature coverage below which an observation counts towards an alert, in the shipped rules."`
	CoverageConsecutive  int      `env:"NISSA_COVERAGE_ALERT_CONSECUTIVE" envDefault:"3" min:"1" max:"100000" doc:"Observations in a row that raise the coverage alert, in the shipped rules."`
	ElevatedRisk         float64  `env:"NISSA_BSDS_ELEVATED_RISK_THRESHOLD" envDefault:"0.8" min:"0" max:"1" doc:"BSDS risk from which a blueprint counts as elevated, in the shipped rules."`
	CoverageFeatureNames []string `env:"NISSA_COVERAGE_FEATURE_KEYS" envDefault:"" doc:"Comma-separated features whose coverage Nissa shows in tamiyo_gnn_feature_coverage_by_type; blank is all."`
}

// Listener is where Nissa answers.
func (n Nissa) Listener() Listener { return Listener(n.HTTP) }

// Log configures the log of every service.
type Log struct {
	Level Level `env:"ESP_LOG_LEVEL" envDefault:"INFO" doc:"DEBUG, INFO, WARNING, ERROR or CRITICAL."`
}
