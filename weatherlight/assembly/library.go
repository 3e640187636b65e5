package assembly

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
)

// Library is the kernel library.
func Library(set *settings.Settings) urza.Config {
	return urza.Config{
		DatabaseURL:        set.Urza.DatabaseURL.Reveal(),
		ArtifactDir:        set.Urza.ArtifactDir,
		ArtifactURL:        set.Urza.ArtifactURL.Reveal(),
		S3AccessKey:        set.Urza.S3AccessKey.Reveal(),
		S3SecretKey:        set.Urza.S3SecretKey.Reveal(),
		SigningKeyFile:     set.Urza.SigningKeyFile,
		SigningKeyPassword: set.Urza.SigningKeyPassword.Reveal(),
		TrustedKeys:        set.Urza.TrustedKeys,
		RequireApproval:    set.Urza.RequireApproval,
		Permit:             Catalog(set).Permit,
		Retention:          set.Urza.Retention(),
		MaxVariants:        set.Urza.MaxVariants,
		CacheTTL:           set.Urza.CacheTTL,
	}
}

// OpenLibrary opens a kernel library. That the password of its signing key is wrong
// shows only here; it is a fault of the settings all the same, which no restart
// mends, and the error a *settings.Faults.
func OpenLibrary(ctx context.Context, config urza.Config) (*urza.Library, error) {
	library, err := urza.Open(ctx, config)
	if errors.Is(err, urza.ErrSigningKey) {
		return nil, &settings.Faults{List: []settings.Fault{{Env: "URZA_SIGNING_KEY_FILE", Err: err}}}
	}
	if err != nil {
		return nil, fmt.Errorf("open kernel library: %w", err)
	}
	return library, nil
}
