package settings

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
)

var errNotURL = errors.New("is not a URL")

// URL is an address that may carry a password. It prints with the password
// masked, in its user part and in its query; Reveal returns it whole.
type URL struct {
	raw    Secret
	masked string
}

// UnmarshalText accepts an absolute URL with its slashes, and embedded: as it
// is. Network schemes need a host.
func (u *URL) UnmarshalText(text []byte) error {
	raw := string(text)
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Scheme == "" || parsed.Opaque != "" {
		return errNotURL // the parser's own words would repeat the password
	}
	if needsHost(parsed.Scheme) && parsed.Hostname() == "" {
		return errNotURL
	}
	*u = URL{raw: NewSecret(raw), masked: maskURL(parsed)}
	return nil
}

// Reveal returns the URL with its password, for the one place that connects.
func (u URL) Reveal() string { return u.raw.Reveal() }

// String returns the URL with its passwords masked.
func (u URL) String() string { return u.masked }

// Format prints the masked form whatever the verb and flags.
func (u URL) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.masked) }

// LogValue logs the masked form.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.masked) }

// MarshalText encodes the masked form.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.masked), nil }

func (u URL) scheme() string {
	scheme, _, _ := strings.Cut(u.Reveal(), ":")
	return strings.ToLower(scheme)
}

func needsHost(scheme string) bool {
	switch scheme {
	case "redis", "rediss", "http", "https", "s3":
		return true
	default:
		return false
	}
}

func maskURL(u *url.URL) string {
	masked := *u
	masked.User = nil
	masked.RawQuery = maskQuery(u.RawQuery)
	text := masked.String()
	if u.User == nil {
		return text
	}
	return strings.Replace(text, "://", "://"+maskUser(u.User)+"@", 1)
}

func maskUser(user *url.Userinfo) string {
	if _, has := user.Password(); has {
		return url.User(user.Username()).String() + ":" + mask
	}
	return user.String()
}

// maskQuery masks the values whose keys speak of credentials and keeps the
// order, so that the printed URL is recognised.
func maskQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if key, _, found := strings.Cut(pair, "="); found && isCredential(key) {
			pairs[i] = key + "=" + mask
		}
	}
	return strings.Join(pairs, "&")
}

func isCredential(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"pass", "secret", "token", "key", "credential", "pwd"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}
