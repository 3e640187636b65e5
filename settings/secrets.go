package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// SecretFileEnv is the variable that names the file of secrets.
const SecretFileEnv = "ESPER_LEYLINE_SECRET_FILE" //nolint:gosec // the name of the variable, not its value

// How much of an envelope must be signed: the texts of OONA_TRUST.
const (
	TrustCompatible = "compatible"
	TrustStrict     = "strict"
)

// maxSecretFile bounds what is read from a file of secrets, in bytes.
const maxSecretFile = 64 << 10

var (
	errEmptySecretFile = errors.New("holds no secret")
	errNoText          = errors.New("is no text: secrets are lines of UTF-8")
)

// byteOrderMark is what some editors write in front of a text. No other process would have
// it in its secret.
const byteOrderMark = "\ufeff"

func notInText(letter rune) bool {
	return unicode.IsControl(letter) && !strings.ContainsRune("\t\r\n", letter)
}

// Secrets returns the secret that signs, and those that are accepted beside it,
// as they are now: the file is read by each call. Only a file can make it fail,
// and the error says nothing of what is in it.
func (s *Settings) Secrets() (current string, previous []string, err error) {
	named := append([]string{s.Secret.Reveal()}, strings.Split(s.SecretPrevious.Reveal(), ",")...)
	if s.SecretFile == "" {
		return named[0], others(named[1:], named[0]), nil
	}
	filed, err := readSecrets(s.SecretFile)
	if err != nil {
		return "", nil, err
	}
	return filed[0], others(slices.Concat(filed[1:], named), filed[0]), nil
}

// others are the secrets that are not blank and not the current one, each once.
func others(secrets []string, current string) []string {
	var kept []string
	for _, secret := range secrets {
		if strings.TrimSpace(secret) != "" && secret != current && !slices.Contains(kept, secret) {
			kept = append(kept, secret)
		}
	}
	return kept
}

// readSecrets reads one secret a line. Blanks within a line are part of it; only
// the line ends are not.
func readSecrets(path string) ([]string, error) {
	content, err := regularfile.ReadSecret(path, maxSecretFile)
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	text := strings.TrimPrefix(string(content), byteOrderMark)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, notInText) {
		return nil, fmt.Errorf("%s %w", path, errNoText)
	}
	var secrets []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			secrets = append(secrets, line)
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s %w", path, errEmptySecretFile)
	}
	return secrets, nil
}
