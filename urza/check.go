package urza

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// Schema is the state of a catalogue, as found without changing it.
type Schema = catalogue.Schema

// InspectSchema looks at the catalogue that a URL names, without making or
// changing anything.
func InspectSchema(ctx context.Context, databaseURL string) (Schema, error) {
	schema, err := catalogue.Inspect(ctx, databaseURL)
	if err != nil {
		return schema, fmt.Errorf("urza: %w", err)
	}
	return schema, nil
}

// InspectStore asks the S3-compatible store of a configuration for what it holds,
// and changes nothing there.
func InspectStore(ctx context.Context, cfg Config) error { return cfg.artifacts().Inspect(ctx) }

// CheckArtifactURL says what is wrong with the object store of a configuration,
// without asking it anything.
func CheckArtifactURL(cfg Config) error { return cfg.artifacts().CheckURL() }

// CheckSigningKey says what is wrong with the signing key of a configuration. A
// password is not tried: that is made to take seconds.
func CheckSigningKey(cfg Config) error { return cfg.artifacts().CheckSigningKey() }

// TrySigningKey is CheckSigningKey with the password.
func TrySigningKey(cfg Config) error { return cfg.artifacts().TrySigningKey() }

// CheckTrustedKeys says what is wrong with the trusted keys of a configuration.
func CheckTrustedKeys(cfg Config) error { return cfg.artifacts().CheckTrustedKeys() }

func (c Config) artifacts() artifact.Config {
	return artifact.Config{
		Dir: c.ArtifactDir, URL: c.ArtifactURL, AccessKey: c.S3AccessKey, SecretKey: c.S3SecretKey,
		SigningKeyFile: c.SigningKeyFile, SigningKeyPassword: c.SigningKeyPassword, TrustedKeys: c.TrustedKeys,
		MaxONNX: kernel.MaxFileBytes,
	}
}

func (c Config) catalogue() catalogue.Config {
	return catalogue.Config{
		URL: c.DatabaseURL, Poll: c.Revalidate, MaxVariants: c.MaxVariants,
		Slow: c.SlowQuery, Failures: c.BreakerFailures, OpenFor: c.BreakerOpen,
	}
}
