package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// secretsOf are all that somebody may not learn from the services, by what they are.
var secretsOf = map[string]string{
	"the secret": secret, "the previous secret": "e2e-previous-7hq2mzk4", "the password of Redis": "e2eredis9fj3kd8s",
	"the token of Weatherlight": "e2e-token-of-weatherlight-5x8c", "the token of Nissa": "e2e-token-of-nissa-2b9m",
	"the password of Elasticsearch": "e2eelastic4tq7vw", "the password of the other Nissa": "e2enissa8kz5pl",
	"the path of a webhook": "e2ehook6wd3rn", "the token of a chat": "e2echat1yx7uj",
	"the filed token of Weatherlight": "e2e-filed-of-weatherlight-3c7d", "the filed token of Nissa": "e2e-filed-of-nissa-8r1k",
	"the password of the own address": "e2eown5jt2hq", "the key of a bucket": "e2ebucket9vm4s", "the secret of a bucket": "e2ebucket0zx6p",
	"the password of the signing key": "e2esigning7gy2b",
}

// exposed are two services with all these secrets, and something in everything that they show.
type exposed struct {
	*world

	nissa  string
	second *process
}

func expose(t *testing.T) *exposed {
	t.Helper()
	w := newWorld(t)
	e := &exposed{world: w, nissa: freeport.Must(t)}
	password := secretsOf["the password of Redis"]
	if reply := w.bus.do("ACL", "SETUSER", "user", "on", ">"+password, "~*", "&*", "+@all"); reply != "OK" {
		t.Fatalf("ACL SETUSER: %v", reply)
	}
	rules := filepath.Join(w.folder, "rules.yml")
	text := fmt.Sprintf(`receivers:
- {name: hook, url: "https://127.0.0.1:1/%s"}
- {name: chat, url: "discord://%s@1"}
rules:
- {name: heard, summary: Something was heard, severity: info, event: stage, quiet: 1h, receivers: [hook, chat]}
objectives:
- {name: cool, summary: s, target: 0.9, metric: heat, good: value < 5}
`, secretsOf["the path of a webhook"], secretsOf["the token of a chat"])
	mustWrite(t, rules, text)
	weatherlights, nissas := filepath.Join(w.folder, "tokens-of-weatherlight"), filepath.Join(w.folder, "tokens-of-nissa")
	for file, name := range map[string]string{weatherlights: "the filed token of Weatherlight", nissas: "the filed token of Nissa"} {
		mustWrite(t, file, secretsOf[name]+"\n")
	}
	w.environ = append(w.environ, "WEATHERLIGHT_HTTP_TOKEN_FILE="+weatherlights, "NISSA_HTTP_TOKEN_FILE="+nissas,
		"URZA_S3_ACCESS_KEY="+secretsOf["the key of a bucket"], "URZA_S3_SECRET_KEY="+secretsOf["the secret of a bucket"],
		"URZA_SIGNING_KEY_PASSWORD="+secretsOf["the password of the signing key"],
		"WEATHERLIGHT_URL=http://user:"+secretsOf["the password of the own address"]+"@127.0.0.1:1")
	w.environ = append(w.environ, "REDIS_URL=redis://user:"+password+"@"+w.redis.Addr+"/0", "ESP_LOG_LEVEL=DEBUG",
		"ESPER_LEYLINE_SECRET_PREVIOUS="+secretsOf["the previous secret"],
		"WEATHERLIGHT_HTTP_TOKEN="+secretsOf["the token of Weatherlight"], "NISSA_HTTP_TOKEN="+secretsOf["the token of Nissa"],
		"NISSA_URL=http://user:"+secretsOf["the password of the other Nissa"]+"@"+e.nissa,
		"ELASTICSEARCH_URL=http://user:"+secretsOf["the password of Elasticsearch"]+"@127.0.0.1:1",
		"NISSA_HTTP_ADDR="+e.nissa, "NISSA_RULES_FILE="+rules, "TEZZERET_FORGE_ON_START=false")
	e.second = launch(t, t.TempDir(), w.environ, nissaService)
	w.boot()
	eventually(t, "Nissa is ready", patience, func() bool {
		code, _, err := get(e.nissa, "/readyz")
		return err == nil && code == http.StatusOK
	})
	for _, command := range [][]string{epochCommand("run-1", 1), eventCommand("run-1", 1), addCommand(streamNormal, []byte("forged"), "x")} {
		w.bus.do(command...)
	}
	eventually(t, "the run is in the store and a letter is dead", patience, func() bool {
		_, letters, _ := get(e.nissa, "/api/deadletters")
		return nissaReports(e.nissa, "run-1") > 0 && strings.Contains(letters, `"id"`)
	})
	return e
}

// paths are those of both services, as they say themselves, and some that there are not.
func (e *exposed) paths() (all []string) {
	e.t.Helper()
	var first map[string]string
	mustGet(e.t, e.http, "/", &first)
	for path := range first {
		all = append(all, e.http+path)
	}
	var document struct{ Paths map[string]any }
	mustGet(e.t, e.nissa, "/api/openapi.json", &document)
	for path := range document.Paths {
		all = append(all, e.nissa+path)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/", "/page.js", "/api/none", "/none"} {
		all = append(all, e.nissa+path, e.http+path)
	}
	if len(all) < 40 {
		e.t.Fatalf("only %d paths", len(all))
	}
	var letters struct{ Letters []struct{ ID string } }
	mustGet(e.t, e.nissa, "/api/deadletters", &letters)
	known := strings.NewReplacer("{run}", "run-1", "{seed}", "s", "{sha256}", strings.Repeat("0", 64), "{id}", letters.Letters[0].ID)
	for i := range all {
		all[i] = known.Replace(all[i])
	}
	return all
}

// ask returns whatever a service answers: status, headers and the beginning of the body.
func (e *exposed) ask(method, address, token string) string {
	e.t.Helper()
	request, err := http.NewRequestWithContext(e.t.Context(), method, "http://"+address, strings.NewReader(`{"by":"e2e"}`))
	if err != nil {
		e.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body) // that of a stream ends with the time of the client
	headers, err := json.Marshal(response.Header)
	if err != nil {
		e.t.Fatal(err)
	}
	return response.Status + string(headers) + string(body)
}

// silent fails when a text holds a secret, as it is or as others write it.
func silent(t *testing.T, what, text string) {
	t.Helper()
	for name, secret := range secretsOf {
		for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("%s tells %s: %q", what, name, text[max(0, at-100):at])
			}
		}
	}
}

// TestNoSecretIsInAnyAnswer asks everything of both services, with the token, with a wrong one and
// without, while all is well and after the bus is gone, and reads all that they log.
func TestNoSecretIsInAnyAnswer(t *testing.T) {
	begin(t)
	e := expose(t)
	paths := e.paths()
	asked, answered := 0, 0
	askAll := func(when string) {
		for _, path := range paths {
			own, filed := secretsOf["the token of Nissa"], secretsOf["the filed token of Nissa"]
			if strings.HasPrefix(path, e.http) {
				own, filed = secretsOf["the token of Weatherlight"], secretsOf["the filed token of Weatherlight"]
			}
			for who, token := range map[string]string{
				"nobody": "", "a stranger": "a-token-that-is-wrong", "a friend": own, "a friend by file": filed,
			} {
				for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
					if method == http.MethodDelete && when == "well" {
						continue // what is removed is not shown any more
					}
					answer := e.ask(method, path, token)
					silent(t, fmt.Sprintf("%s: %s %s by %s", when, method, path, who), answer)
					if asked++; strings.HasPrefix(answer, "200") {
						answered++
					}
				}
			}
		}
	}
	askAll("well")
	e.redis.Stop()
	eventually(t, "both say that the bus is gone", patience, func() bool {
		first, _, _ := get(e.http, "/readyz")
		second, _, _ := get(e.nissa, "/readyz")
		return first == http.StatusServiceUnavailable && second == http.StatusServiceUnavailable
	})
	askAll("without the bus")
	for _, p := range []*process{e.process, e.second} {
		p.signal(syscall.SIGHUP)
		p.signal(syscall.SIGTERM)
	}
	for _, p := range []*process{e.process, e.second} {
		p.end("SIGTERM without the bus", 2*stopBound)
		silent(t, "a log", p.stdout.String()+p.stderr.String())
	}
	check := launch(t, t.TempDir(), e.environ, service, "--check")
	check.end("the check", patience)
	silent(t, "the check", check.stdout.String()+check.stderr.String())
	for _, args := range [][]string{{"status"}, {"ready"}, {"runs", "list"}, {"deadletters", "list"}, {"streams", "list"}, {"policy", "compare"}, {"alarms", "ack", "x"}} {
		p := launch(t, t.TempDir(), slices.Concat(e.environ, []string{"WEATHERLIGHT_HTTP_ADDR=" + e.http}), "esperctl", args...)
		p.end("esperctl", patience)
		silent(t, "esperctl "+strings.Join(args, " "), p.stdout.String()+p.stderr.String())
	}
	if t.Logf("%d requests of %d paths, %d answered", asked, len(paths), answered); answered < 2*len(paths) {
		t.Error("too little was answered to tell")
	}
}
