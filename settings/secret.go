package settings

import (
	"fmt"
	"io"
	"log/slog"
)

const mask = "***"

// Secret is a text that no printer shows. The text sits behind a function, so
// that even a printer that walks unexported fields cannot reach it.
type Secret struct{ reveal func() string }

// NewSecret wraps a secret text.
func NewSecret(text string) Secret {
	return Secret{reveal: func() string { return text }}
}

// Reveal returns the text itself, for the one place that signs with it.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// UnmarshalText takes the text as it is: blanks at its ends are part of it.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// String returns the mask.
func (Secret) String() string { return mask }

// Format prints the mask whatever the verb and flags.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// LogValue logs the mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText encodes the mask, for JSON and every other text encoding.
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }
