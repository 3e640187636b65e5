package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/certtest"
	"github.com/esper-lite/weatherlight/internal/freeport"
)

const (
	tokenOfWeatherlight = "e2e-token-of-weatherlight"
	tokenOfNissa        = "e2e-token-of-nissa"
)

// everywhere is a port of all addresses, and where this machine reaches it.
func everywhere(t *testing.T) (listens, port string) {
	_, port, _ = strings.Cut(freeport.Must(t), ":")
	return "0.0.0.0:" + port, port
}

// fortress is a service and a Nissa that other machines could reach.
type fortress struct {
	*world

	authority         *certtest.Authority
	cert, key, tokens string   // files
	nissa             string   // host:port
	second            *process // Nissa
	operator          []string
	client            *http.Client
}

func newFortress(t *testing.T) *fortress {
	t.Helper()
	f := &fortress{world: newWorld(t), authority: certtest.New(t)}
	f.cert, f.key, f.tokens = filepath.Join(f.folder, "cert.pem"), filepath.Join(f.folder, "key.pem"), filepath.Join(f.folder, "tokens")
	f.authority.Pair(t, f.cert, f.key)
	mustWrite(t, f.tokens, tokenOfWeatherlight+"\n")
	own, port := everywhere(t)
	f.http = "127.0.0.1:" + port
	page, port := everywhere(t)
	f.nissa = "127.0.0.1:" + port
	f.operator = []string{
		"WEATHERLIGHT_URL=https://" + f.http, "NISSA_URL=https://" + f.nissa, "ESPER_CA_FILE=" + f.authority.File,
		"WEATHERLIGHT_HTTP_TOKEN_FILE=" + f.tokens, "NISSA_HTTP_TOKEN=" + tokenOfNissa, "ESPER_LEYLINE_SECRET=" + secret,
	}
	f.environ = append(f.environ, "WEATHERLIGHT_HTTP_ADDR="+own, "NISSA_HTTP_ADDR="+page)
	f.client = &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: f.authority.Pool, MinVersion: tls.VersionTLS12},
	}}
	return f
}

// start runs both services, with certificates and tokens.
func (f *fortress) start() {
	f.t.Helper()
	environ := slices.Concat(f.environ, f.operator, []string{
		"WEATHERLIGHT_HTTP_TLS_CERT_FILE=" + f.cert, "WEATHERLIGHT_HTTP_TLS_KEY_FILE=" + f.key,
		"NISSA_HTTP_TLS_CERT_FILE=" + f.cert, "NISSA_HTTP_TLS_KEY_FILE=" + f.key, "ESP_LOG_LEVEL=DEBUG",
	})
	f.process = launch(f.t, f.folder, environ, service)
	f.second = launch(f.t, f.t.TempDir(), environ, nissaService)
	for _, addr := range []string{f.http, f.nissa} {
		eventually(f.t, addr+" is ready, and says so to everybody", patience, func() bool {
			code, _, _ := f.ask("https://"+addr+"/readyz", "")
			return code == http.StatusOK
		})
	}
}

func (f *fortress) ask(address, token string) (code int, body string, certificate *x509.Certificate) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := f.client.Do(request)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if response.TLS != nil {
		certificate = response.TLS.PeerCertificates[0]
	}
	return response.StatusCode, string(text), certificate
}

// ctl runs esperctl with what the operator has set, but for some of it.
func (f *fortress) ctl(without string, args ...string) (code int, said string) {
	f.t.Helper()
	environ := slices.DeleteFunc(slices.Clone(f.operator), func(pair string) bool { return without != "" && strings.HasPrefix(pair, without) })
	p := launch(f.t, f.t.TempDir(), environ, "esperctl", args...)
	code, _ = p.exit(patience)
	return code, p.stdout.String() + p.stderr.String()
}

// TestServicesThatOthersReachNeedTokens: a service that others reach tells nothing but health to who has no token.
func TestServicesThatOthersReachNeedTokens(t *testing.T) {
	begin(t)
	f := newFortress(t)
	for name, args := range map[string][]string{service: nil, service + " --check": {"--check"}, nissaService: nil} {
		command, _, _ := strings.Cut(name, " ")
		p := launch(t, f.t.TempDir(), f.environ, command, args...)
		code, _ := p.exit(patience)
		if code != 2 {
			t.Errorf("%s without a token ends with %d, want 2", name, code)
		}
		mustSay(t, name, p.stdout.String()+p.stderr.String(), "_HTTP_TOKEN", "0.0.0.0:", "loopback")
	}
	f.start()
	asked := f.askAll()
	if t.Logf("%d requests", asked); asked < 120 {
		t.Error("too little was asked to tell")
	}
	if code, body, _ := f.ask("http://"+f.http+"/readyz", ""); code != http.StatusBadRequest {
		t.Errorf("by HTTP it answers %d %s", code, body)
	}
	plain := launch(t, f.t.TempDir(), []string{"WEATHERLIGHT_URL=http://" + f.http}, "esperctl", "status")
	if code, _ := plain.exit(patience); code != 2 {
		t.Errorf("esperctl status by HTTP: %d", code)
	}
	mustSay(t, "esperctl status by HTTP", plain.stderr.String(), "answers by https", "WEATHERLIGHT_URL")
	operatorAsks(t, f)
	trainerFetches(t, f)
	renewed(t, f)
	for _, p := range []*process{f.process, f.second} {
		p.signal(syscall.SIGTERM)
		p.end("SIGTERM", 2*stopBound)
		f.silent("a log", p.stdout.String()+p.stderr.String())
	}
}

// open are the paths that need no token: health, and the files of the page, which asks for it.
func (f *fortress) open() []string {
	return []string{
		f.http + "/healthz", f.http + "/readyz", f.nissa + "/healthz", f.nissa + "/readyz",
		f.nissa + "/", f.nissa + "/page.js", f.nissa + "/page.css", f.nissa + "/icon.svg",
	}
}

// paths are those of both services, as they say themselves, and some that there are not.
func (f *fortress) paths() []string {
	f.t.Helper()
	paths := f.open()
	var first map[string]string
	var document struct{ Paths map[string]any }
	for address, into := range map[string]any{f.http + "/": &first, f.nissa + "/api/openapi.json": &document} {
		code, body, _ := f.ask("https://"+address, f.tokenFor(address))
		if err := json.Unmarshal([]byte(body), into); code != http.StatusOK || err != nil {
			f.t.Fatalf("%s: %d, %v", address, code, err)
		}
	}
	for path := range first {
		paths = append(paths, f.http+path)
	}
	for path := range document.Paths {
		paths = append(paths, f.nissa+path)
	}
	for _, path := range []string{"/", "/metrics", "/none", "/api/none", "/debug/pprof/", "//healthz", "/healthz/x"} {
		paths = append(paths, f.nissa+path, f.http+path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func (f *fortress) tokenFor(address string) string {
	if strings.HasPrefix(address, f.nissa) {
		return tokenOfNissa
	}
	return tokenOfWeatherlight
}

// askAll asks everything in each way: strangers get nothing beyond what is open, and nobody a secret.
func (f *fortress) askAll() (asked int) {
	f.t.Helper()
	open := f.open()
	for _, path := range f.paths() {
		address := "https://" + strings.NewReplacer("{run}", "r", "{seed}", "s", "{sha256}", strings.Repeat("0", 64), "{id}", "1-1").Replace(path)
		for _, token := range []string{"", tokenOfWeatherlight + tokenOfNissa, f.tokenFor(path)} {
			if strings.HasSuffix(path, "/stream") && token == f.tokenFor(path) {
				continue // it has no end
			}
			code, body, _ := f.ask(address, token)
			f.silent(path, body)
			stranger := token != f.tokenFor(path) && !slices.Contains(open, path)
			if asked++; stranger != (code == http.StatusUnauthorized) {
				f.t.Errorf("%s with the token %q: %d", path, token, code)
			}
		}
	}
	return asked
}

// silent fails when a text holds a token, or a line of the key.
func (f *fortress) silent(what, text string) {
	f.t.Helper()
	key, err := os.ReadFile(f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, line := range append(strings.Split(string(key), "\n"), tokenOfWeatherlight, tokenOfNissa, "e2e-token-of-tomorrow", secret) {
		if len(line) > 8 && !strings.HasPrefix(line, "-----") && strings.Contains(text, line) {
			f.t.Errorf("%s tells a secret", what)
		}
	}
}

func operatorAsks(t *testing.T, f *fortress) {
	for _, c := range []struct {
		without string
		args    []string
		code    int
		says    string
	}{
		{"", []string{"status"}, 0, "ready"},
		{"", []string{"ready"}, 0, ""},
		{"", []string{"runs", "list"}, 0, ""},
		{"WEATHERLIGHT_HTTP_TOKEN_FILE", []string{"ready"}, 0, ""},
		{"WEATHERLIGHT_HTTP_TOKEN_FILE", []string{"status"}, 2, "WEATHERLIGHT_HTTP_TOKEN"},
		{"NISSA_HTTP_TOKEN", []string{"runs", "list"}, 2, "NISSA_HTTP_TOKEN"},
		{"ESPER_CA_FILE", []string{"status"}, 3, "ESPER_CA_FILE"},
	} {
		code, said := f.ctl(c.without, c.args...)
		if f.silent("esperctl", said); code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("esperctl %v without %q: %d, want %d and %q:\n%s", c.args, c.without, code, c.code, c.says, said)
		}
	}
	eventually(t, "Weatherlight reaches its Nissa by https", patience, func() bool {
		_, body, _ := f.ask("https://"+f.http+"/status", tokenOfWeatherlight)
		var status struct{ Nissa struct{ State string } }
		return json.Unmarshal([]byte(body), &status) == nil && status.Nissa.State == "ready"
	})
}

// trainerFetches a kernel as trainers do, by the URL that they are told.
func trainerFetches(t *testing.T, f *fortress) {
	var checksum string
	eventually(t, "a kernel is there", patience, func() bool {
		checksum = f.kernels()[compiled].Checksum
		return checksum != ""
	})
	address := "https://" + f.http + "/kernels/" + checksum
	stranger, _, _ := f.ask(address, "")
	friend, content, _ := f.ask(address, tokenOfWeatherlight)
	if sum := sha256.Sum256([]byte(content)); stranger != http.StatusUnauthorized || friend != http.StatusOK || hex.EncodeToString(sum[:]) != checksum {
		t.Errorf("a kernel: %d without the token, %d with it, %d bytes", stranger, friend, len(content))
	}
}

// renewed puts new tokens and a new certificate in the place of the old ones, while both run.
func renewed(t *testing.T, f *fortress) {
	_, _, before := f.ask("https://"+f.http+"/readyz", "")
	serial := f.authority.Pair(t, f.cert, f.key)
	mustWrite(t, f.tokens, "e2e-token-of-tomorrow\n"+tokenOfWeatherlight+"\n")
	for _, addr := range []string{f.http, f.nissa} {
		eventually(t, addr+" has its new certificate", 10*time.Second, func() bool {
			_, _, now := f.ask("https://"+addr+"/readyz", "")
			return now != nil && now.SerialNumber.Int64() == serial && !now.Equal(before)
		})
	}
	eventually(t, "both tokens let in", 10*time.Second, func() bool {
		old, _, _ := f.ask("https://"+f.http+"/status", tokenOfWeatherlight)
		next, _, _ := f.ask("https://"+f.http+"/status", "e2e-token-of-tomorrow")
		return old == http.StatusOK && next == http.StatusOK
	})
	spoilt(t, f)
	mustWrite(t, f.tokens, "e2e-token-of-tomorrow\n")
	eventually(t, "the old token lets in no more", 10*time.Second, func() bool {
		old, _, _ := f.ask("https://"+f.http+"/status", tokenOfWeatherlight)
		return old == http.StatusUnauthorized
	})
	if code, said := f.ctl("", "status"); code != 0 {
		t.Errorf("esperctl status with the token of tomorrow: %d\n%s", code, said)
	}
}

// spoilt: files that are nonsense change nothing, and are told of without what is in them.
func spoilt(t *testing.T, f *fortress) {
	mustWrite(t, f.tokens, "e2e-token-of-tomorrow\nshort\n")
	whole, err := os.ReadFile(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f.cert, string(whole[:len(whole)/2]))
	for what, said := range map[string]func() string{"WEATHERLIGHT": f.process.stderr.String, "NISSA": f.second.stderr.String} {
		eventually(t, what+" tells of its certificate", 10*time.Second, func() bool {
			for _, addr := range []string{f.http, f.nissa} {
				if code, _, _ := f.ask("https://"+addr+"/readyz", ""); code != http.StatusOK {
					t.Fatalf("%s has no certificate any more", addr)
				}
			}
			return strings.Contains(said(), what+"_HTTP_TLS_CERT_FILE and its key are no pair")
		})
	}
	eventually(t, "the tokens that are none are told of", 10*time.Second, func() bool {
		code, _, _ := f.ask("https://"+f.http+"/status", tokenOfWeatherlight)
		return code == http.StatusOK && strings.Contains(f.process.stderr.String(), "WEATHERLIGHT_HTTP_TOKEN_FILE must hold tokens")
	})
	mustWrite(t, f.cert, string(whole))
}
