package weatherlight

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/signing"
)

// secretPoll is the pause between two looks at the file of secrets.
const secretPoll = time.Second

// Reload reads the secrets again and goes over to them at once: nothing that is
// under way is refused, as long as the secret it was signed with is still among
// them. When they cannot be read everything stays as it was.
func (s *Service) Reload(context.Context) error {
	current, previous, err := s.settings.Secrets()
	if err != nil {
		return fmt.Errorf("reload secrets: %w", err)
	}
	s.secretsMu.Lock()
	defer s.secretsMu.Unlock()
	now := append([]string{current}, previous...)
	if slices.Equal(now, s.secrets) {
		return nil
	}
	if err := s.keyring.Rotate(current, previous...); err != nil {
		return fmt.Errorf("rotate secrets: %w", err)
	}
	s.secrets = now
	s.logger.Info("secrets rotated", "key", s.keyring.KeyID(), "accepted", len(now))
	return nil
}

// loadKeyring makes the keyring of the settings' secrets.
func (s *Service) loadKeyring() error {
	current, previous, err := s.settings.Secrets()
	if err != nil {
		return err
	}
	s.keyring, err = signing.NewKeyring(current, previous...)
	if err != nil {
		return fmt.Errorf("ESPER_LEYLINE_SECRET: %w", err)
	}
	s.secrets = append([]string{current}, previous...)
	return nil
}

// watchSecrets goes over to new secrets when their file changes. A file that
// cannot be read, or is half written, changes nothing and is told of once.
func (s *Service) watchSecrets(ctx context.Context) error {
	ticker := time.NewTicker(secretPoll)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		fault := ""
		if err := s.Reload(ctx); err != nil {
			fault = err.Error()
		}
		if fault != "" && fault != told {
			s.logger.Warn("secrets stay as they were", "error", fault)
		}
		told = fault
	}
}
