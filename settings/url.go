package settings

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
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

// maskURL masks what may be a password. One with a slash or a number sign that was not
// escaped ends up in the path or the fragment: then all before it is masked.
func maskURL(u *url.URL) string {
	for _, part := range []string{u.Path, u.Fragment} {
		if at := strings.LastIndex(part, "@"); at >= 0 {
			return u.Scheme + "://" + mask + part[at:]
		}
	}
	masked := *u
	if isRedis := u.Scheme == "redis" || u.Scheme == "rediss"; isRedis && strings.Trim(u.Path, "/0123456789") != "" {
		masked.Path, masked.RawPath = "/"+mask, "" // no number of a database
	}
	if u.Fragment != "" {
		masked.Fragment, masked.RawFragment = mask, mask
	}
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
	return mask // a password whose colon was forgotten
}

// maskQuery masks the values whose keys speak of credentials, and what may be one in
// others, and keeps the order, so that the printed URL is recognised.
func maskQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	addressed := false // a later one has an address: a password may have held the separator
	for i, pair := range slices.Backward(pairs) {
		key, _, found := strings.Cut(pair, "=")
		isAddress := strings.Contains(plain(pair), "@")
		switch {
		case addressed && !isAddress && found && !strings.ContainsAny(plain(key), ":/ "):
			pairs[i] = key + "=" + mask
		case addressed && !isAddress:
			pairs[i] = mask
		default:
			pairs[i] = maskPair(pair)
		}
		addressed = addressed || isAddress
	}
	return strings.Join(pairs, "&")
}

// shown are the keys of the addresses whose values are worth a look and no secret. What
// nobody knows may be anything.
var shown = []string{
	"addr", "ca", "client_name", "cluster", "db", "dial_timeout", "master_set", "protocol", "write_timeout",
	"application_name", "connect_timeout", "dbname", "host", "options", "port", "search_path", "sslmode",
	"sslrootcert", "target_session_attrs", "endpoint", "region",
}

// maskPair looks at the plain text: a key may be escaped, and an address in a value have a
// password of its own.
func maskPair(pair string) string {
	key, value, found := strings.Cut(pair, "=")
	plainKey, plainValue := plain(key), plain(value)
	at := strings.LastIndex(plainValue, "@")
	switch {
	case !found, strings.Contains(plainKey, "@"), strings.ContainsAny(plainKey, ":/ "):
		return mask // no key at all
	case !slices.Contains(shown, plainKey) && !isCredential(plainKey):
		return mask // it may be the half of a password
	case !slices.Contains(shown, plainKey), strings.Contains(plainValue, "=") && isCredential(plainValue):
		return key + "=" + mask
	case at >= 0:
		return key + "=" + mask + "@" + url.QueryEscape(plainValue[at+1:])
	default:
		return pair
	}
}

// plain takes the escapes out of a text, also those that were escaped themselves. What is
// no escape stays: it may be a password that nobody escaped.
func plain(text string) string {
	for range 3 {
		text = escape.ReplaceAllStringFunc(text, func(sign string) string {
			unescaped, err := url.PathUnescape(sign)
			if err != nil {
				return sign
			}
			return unescaped
		})
	}
	return text
}

var escape = regexp.MustCompile("%[0-9A-Fa-f]{2}")

func isCredential(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"pass", "secret", "token", "key", "credential", "pwd"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}
