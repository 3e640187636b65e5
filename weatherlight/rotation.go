package weatherlight

import (
	"fmt"

	"github.com/esper-lite/weatherlight/signing"
)

// Reload goes over to the secrets of a source at once, and follows it from now
// on: nothing that is under way is refused, as long as the secret it was signed
// with is still among them. When they cannot be read everything stays as it was.
func (s *Service) Reload(secrets signing.Source) error { return s.secrets.Use(secrets) }

// loadKeyring makes the keyring of the settings' secrets.
func (s *Service) loadKeyring() error {
	follower, err := signing.Follow(s.settings.Secrets, s.logger)
	if err != nil {
		return fmt.Errorf("ESPER_LEYLINE_SECRET: %w", err)
	}
	s.secrets, s.keyring = follower, follower.Keyring()
	return nil
}
