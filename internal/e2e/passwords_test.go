package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hiddenPassword stands in each of the addresses below.
const hiddenPassword = "pw7hx2kd93mq"

// addressesWithPasswords are settings, each for a boot of its own, that put a password
// where somebody may.
var addressesWithPasswords = []string{
	"REDIS_URL=redis://user:" + hiddenPassword + "@%s/0",
	"REDIS_URL=redis://%s/0?addr=user:" + hiddenPassword + "@127.0.0.1:1",
	"REDIS_URL=redis://%s/user:" + hiddenPassword + "@",
	"REDIS_URL=redis://%s/0?password=" + hiddenPassword + "&db=user:" + hiddenPassword + "@",
	"REDIS_URL=redis://user:12/" + hiddenPassword + "@%s",
	"REDIS_URL=redis://%s/0?dial_timeout=" + "user:" + hiddenPassword + "@x",
	"REDIS_URL=redis://" + hiddenPassword + "@%s/0",
	"REDIS_URL=redis://%s/" + hiddenPassword,
	"REDIS_URL=redis://%s/0?auth=" + hiddenPassword,
	"URZA_DATABASE_URL=sqlite:///./catalog.db?cipher=" + hiddenPassword,
	"ESPER_LEYLINE_SECRET_FILE=" + hiddenPassword,
	"URZA_TRUSTED_KEYS=" + hiddenPassword,
	"URZA_SIGNING_KEY_FILE=" + hiddenPassword,
	"URZA_ARTIFACT_URL=s3://bucket/prefix?endpoint=http://user:" + hiddenPassword + "@127.0.0.1:1",
	"URZA_ARTIFACT_URL=s3://bucket?endpoint=http%%3A%%2F%%2Fuser%%3A" + hiddenPassword + "%%40127.0.0.1:1",
	"URZA_ARTIFACT_URL=s3://user:" + hiddenPassword + "@bucket?endpoint=http://127.0.0.1:1",
	"URZA_DATABASE_URL=postgres://user:" + hiddenPassword + "@127.0.0.1:1/db",
	"URZA_DATABASE_URL=postgres://127.0.0.1:1/db?password=" + hiddenPassword + "&sslmode=wrong",
	"URZA_DATABASE_URL=postgres://127.0.0.1:1/db?sslpassword=" + hiddenPassword + "&connect_timeout=user:" + hiddenPassword + "@",
	"URZA_DATABASE_URL=postgresql+psycopg://user:" + hiddenPassword + "@127.0.0.1:1/db?sslrootcert=/nowhere",
	"URZA_DATABASE_URL=host=127.0.0.1 user=u password=" + hiddenPassword,
	"URZA_DATABASE_URL=sqlite://user:" + hiddenPassword + "@",
	"NISSA_URL=http://user:" + hiddenPassword + "@127.0.0.1:1/?token=" + hiddenPassword,
	"NISSA_URL=http://user:" + hiddenPassword + "@%s",
	"WEATHERLIGHT_ADVERTISE_URL=http://user:" + hiddenPassword + "@127.0.0.1:1",
	"ELASTICSEARCH_URL=http://user:" + hiddenPassword + "@127.0.0.1:1",
	"PROMETHEUS_PUSHGATEWAY=http://127.0.0.1:1/#" + hiddenPassword,
}

// TestR41NothingThatIsWrittenHoldsAPassword boots and checks with each of them, and reads
// all that comes out: the table of the check, logs, the line of a failure, /status.
func TestR41NothingThatIsWrittenHoldsAPassword(t *testing.T) {
	begin(t)
	w := newWorld(t)
	if reply := w.bus.do("ACL", "SETUSER", "user", "on", ">"+hiddenPassword, "~*", "&*", "+@all"); reply != "OK" {
		t.Fatalf("ACL SETUSER: %v", reply)
	}
	for _, form := range addressesWithPasswords {
		setting := strings.ReplaceAll(strings.ReplaceAll(form, "%s", w.redis.Addr), "%%", "%")
		environ := slices.Concat(w.environ, []string{"ESP_LOG_LEVEL=DEBUG", "TEZZERET_FORGE_ON_START=false",
			"WEATHERLIGHT_BOOT_TIMEOUT=5s", "NISSA_HTTP_ADDR=127.0.0.1:0", setting})
		check := launch(t, w.folder, environ, service, "--check")
		check.end(setting+": the check", patience)
		shown := launch(t, t.TempDir(), environ, nissaService)
		w.process = launch(t, t.TempDir(), environ, service)
		begun := time.Now()
		for w.process.running() && w.logged("ready") == nil && time.Since(begun) < bootBound {
			select {
			case <-w.process.ended:
			case <-time.After(10 * time.Millisecond):
			}
		}
		var status string
		if ready := w.logged("ready"); ready != nil {
			w.http, _ = ready["http"].(string)
			_, status = w.get("/status")
			_, metrics := w.get("/metrics")
			_, why := w.get("/readyz")
			status += metrics + why
			w.process.signal(syscall.SIGUSR1)
			eventually(t, "the status is logged", patience, func() bool { return w.logged("status") != nil })
		}
		for _, p := range []*process{w.process, shown} {
			if p.running() {
				p.signal(syscall.SIGTERM)
			}
			p.end(setting, 2*stopBound)
		}
		for what, text := range map[string]string{
			"--check": check.stdout.String() + check.stderr.String(), "the service": w.process.stdout.String() + w.process.stderr.String(),
			"Nissa": shown.stdout.String() + shown.stderr.String(), "HTTP": status,
		} {
			if at := strings.Index(text, hiddenPassword); at >= 0 {
				t.Errorf("%s: %s writes %q", setting, what, text[max(0, at-150):min(len(text), at+60)])
			}
		}
	}
}
