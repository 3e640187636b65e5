package httpapi

import (
	"net"
	"net/url"
	"strings"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/settings"
)

// Listener is what settings say of where the service answers, and whom.
func Listener(l settings.Listener) httpserver.Config {
	return httpserver.Config{
		Env: "WEATHERLIGHT_HTTP", Addr: string(l.Addr), Tokens: l.Tokens, CertFile: l.CertFile, KeyFile: l.KeyFile,
	}
}

// Advertised is the URL below which trainers find what is served, without a slash at
// its end: the configured one, or else the listener's own address. A listener on all
// addresses is named by loopback. It is "" when there is neither.
func Advertised(configured, scheme string, listener net.Addr) string {
	if configured != "" {
		return strings.TrimRight(configured, "/")
	}
	address, ok := listener.(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := *address
	if host.IP.IsUnspecified() || len(host.IP) == 0 {
		host.IP = net.IPv4(127, 0, 0, 1)
	}
	return scheme + "://" + host.String()
}

// LocalOnly says that trainers of other machines cannot follow an advertised URL: it
// names this machine, or no machine at all.
func LocalOnly(advertised string) bool {
	parsed, err := url.Parse(advertised)
	if err != nil || parsed.Hostname() == "" {
		return true
	}
	host := strings.ToLower(strings.TrimSuffix(parsed.Hostname(), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	host, _, _ = strings.Cut(host, "%") // the zone of an IPv6 address
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
