package urza

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Config says where a library lives and how it behaves. The zero value of every
// field means its default.
type Config struct {
	// DatabaseURL in SQLAlchemy's form: sqlite:/// and a path, so three slashes for a
	// relative path and four for an absolute one, or postgres://user:password@host/name
	// with the options of libpq. Default sqlite:///./var/urza/catalog.db.
	DatabaseURL string
	// ArtifactDir receives the artifacts. Default ./var/urza/artifacts.
	ArtifactDir string
	// ArtifactURL, when set, names an S3-compatible store that receives the artifacts
	// instead: s3://bucket/prefix?endpoint=http://host:port&region=name. Artifacts that
	// rows refer to by a path are still read.
	ArtifactURL string
	// S3AccessKey and S3SecretKey open that store; both empty is anonymous access.
	S3AccessKey, S3SecretKey string
	// ObjectTrust is how long an artifact of the S3 store counts as unchanged before
	// the store is asked again. Default 10 s; negative asks every time.
	ObjectTrust time.Duration
	// SigningKeyFile, when set, is a minisign secret key: every saved artifact gets a
	// signature beside it. SigningKeyPassword opens the file; empty when it has none.
	SigningKeyFile, SigningKeyPassword string
	// TrustedKeys, when not empty, are minisign public keys, in base64 or as the path
	// of a .pub file: only artifacts that one of them signed are served.
	TrustedKeys []string
	// RequireApproval withholds kernels whose descriptor asks for an approval until an
	// operator approved them.
	RequireApproval bool
	// Permit, when set, is asked whether a blueprint may be used at all, and told
	// whether an operator approved the artifact; its error withholds the kernel. The
	// answer for a row is remembered.
	Permit func(descriptor *leyline.BlueprintDescriptor, approved bool) error
	// FinishSaves brings a save that the prototype died in to its end when the library
	// is opened. That is for the one service of a library: a tool that only looks must
	// change nothing.
	FinishSaves bool
	// Retention removes artifacts that no row has referred to for so long; 0 keeps
	// them. It acts at the end of a scrub, or when Prune is called.
	Retention time.Duration
	// MaxVariants bounds how many kernels for other slots and parameters are kept of one
	// blueprint. Those that were not used for the longest time make room, but none that
	// was used within the last hour. Default 256.
	MaxVariants int
	// CacheTTL bounds how long a record stays in memory; 0 keeps it. Files and rows
	// are never touched by it.
	CacheTTL time.Duration
	// CacheSize bounds the number of records in memory. Default 4096.
	CacheSize int
	// Revalidate is how long a record may be answered from memory without asking the
	// database and the file system whether anything changed. Default 10 ms; negative
	// asks every time.
	Revalidate time.Duration
	// SlowQuery: a look-up slower than this counts as a breaker failure. Default 250 ms.
	SlowQuery time.Duration
	// BreakerFailures in a row open the breaker. Default 3.
	BreakerFailures uint32
	// BreakerOpen is how long an open breaker refuses before it probes. Default 0.5 s.
	BreakerOpen time.Duration
	// Logger; nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.DatabaseURL = cmp.Or(c.DatabaseURL, "sqlite:///./var/urza/catalog.db")
	c.ArtifactDir = cmp.Or(c.ArtifactDir, "./var/urza/artifacts")
	c.CacheSize = cmp.Or(c.CacheSize, 4096)
	c.MaxVariants = cmp.Or(c.MaxVariants, 256)
	c.Revalidate = cmp.Or(c.Revalidate, 10*time.Millisecond)
	c.ObjectTrust = cmp.Or(c.ObjectTrust, 10*time.Second)
	c.SlowQuery = cmp.Or(c.SlowQuery, 250*time.Millisecond)
	c.BreakerFailures = cmp.Or(c.BreakerFailures, 3)
	c.BreakerOpen = cmp.Or(c.BreakerOpen, 500*time.Millisecond)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}
