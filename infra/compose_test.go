package infra

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/settings"
)

const (
	composeFile = "docker-compose.weatherlight.yml"
	trainer     = "1000:1001" // user and group
)

// deployment is the compose file as the client resolves it.
type deployment struct {
	Version  string
	Services map[string]container
	Volumes  map[string]struct{ Name string }
	Secrets  map[string]struct{ File string }
}

type container struct {
	Image string
	Build struct {
		Context, Dockerfile string
		Args                map[string]string
	}
	Entrypoint  []string
	Command     []string
	Environment map[string]string
	Volumes     []string
	Secrets     []struct{ Source string }
	Ports       []string
	Restart     string
	IPC, User   string
	Tmpfs       []string
	ReadOnly    bool                                  `yaml:"read_only"`
	SecurityOpt []string                              `yaml:"security_opt"`
	CapDrop     []string                              `yaml:"cap_drop"`
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct {
		Test              []string
		Interval, Timeout time.Duration
		StartPeriod       time.Duration `yaml:"start_period"`
		Retries           int
	}
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
}

// resolve lets the client read a compose file, and reads what it made of it.
func resolve(t testing.TB, more ...string) deployment {
	t.Helper()
	words := []string{"-f", composeFile}
	for _, file := range more {
		words = append(words, "-f", file)
	}
	environ := []string{"ESPER_LEYLINE_SECRET=" + secret, "TRAINER=" + trainer, "TOLARIA_ROLLBACK_SIGNAL_NAME=rollback"}
	printed := run(t, ".", environ, "docker-compose", append(words, "config")...)
	decoder := yaml.NewDecoder(strings.NewReader(printed))
	decoder.KnownFields(true)
	var d deployment
	if err := decoder.Decode(&d); err != nil {
		t.Fatalf("docker-compose config: %v\n%s", err, printed)
	}
	return d
}

// ours are the containers that are made from our image.
func (d deployment) ours() map[string]container {
	ours := make(map[string]container)
	for name, c := range d.Services {
		if c.Build.Dockerfile != "" {
			ours[name] = c
		}
	}
	return ours
}

func (c container) environ() (pairs []string) {
	for name, value := range c.Environment {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return pairs
}

func TestN25ComposeStartsInOrderAndLooksAfterEveryService(t *testing.T) {
	d := resolve(t)
	if len(d.Services) != 3 || len(d.ours()) != 2 {
		t.Fatalf("services are %v", d.Services)
	}
	for name, c := range d.Services {
		if c.Restart != "unless-stopped" {
			t.Errorf("%s is not started again: %q", name, c.Restart)
		}
		h := c.Healthcheck
		if len(h.Test) < 2 || h.Test[0] != "CMD" || h.Interval == 0 || h.Timeout == 0 || h.Retries == 0 {
			t.Errorf("%s has no health check: %+v", name, h)
		}
		for _, port := range c.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is open to the network: %s", name, port)
			}
		}
	}
	for name, c := range d.ours() {
		if c.Environment["REDIS_URL"] != "redis://redis:6379/0" {
			t.Errorf("%s asks for Redis at %q", name, c.Environment["REDIS_URL"])
		}
		if len(c.Ports) == 0 {
			t.Errorf("%s cannot be asked from outside of its container", name)
		}
		if c.DependsOn["redis"].Condition != "service_healthy" {
			t.Errorf("%s does not wait for Redis: %v", name, c.DependsOn)
		}
	}
}

// TestComposeWithATrainerSharesItsMemoryAndUser: else its segments could not be seen, or not be opened.
func TestComposeWithATrainerSharesItsMemoryAndUser(t *testing.T) {
	alone, shared := resolve(t).ours()["weatherlight"], resolve(t, "docker-compose.trainer.yml").ours()["weatherlight"]
	if alone.IPC != "" || alone.User != "" {
		t.Errorf("without a trainer: memory of %q, user %q", alone.IPC, alone.User)
	}
	if shared.IPC != "host" || shared.User != trainer || shared.Environment["TOLARIA_ROLLBACK_SIGNAL_NAME"] != "rollback" {
		t.Errorf("with a trainer: memory of %q, user %q, %v", shared.IPC, shared.User, shared.Environment)
	}
}

// TestComposeRunsWhatTheImageHolds: commands and folders that a file names must be there.
func TestComposeRunsWhatTheImageHolds(t *testing.T) {
	d, image := resolve(t), readDockerfile(t)
	for name, c := range d.ours() {
		if _, err := os.Stat(filepath.Join(c.Build.Context, c.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for argument := range c.Build.Args {
			if !slices.ContainsFunc(image.all("ARG"), func(known string) bool { return strings.HasPrefix(known, argument+"=") }) {
				t.Errorf("%s is built with %s, which the image does not take", name, argument)
			}
		}
		for _, command := range append(c.Entrypoint, c.Healthcheck.Test[1]) {
			if !slices.Contains(image.commands(), command) {
				t.Errorf("%s runs %s, the image holds %v", name, command, image.commands())
			}
		}
		if !c.ReadOnly || !slices.Contains(c.CapDrop, "ALL") || !slices.Contains(c.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it needs: %+v", name, c)
		}
		for _, volume := range c.Volumes {
			if !strings.HasSuffix(volume, ":"+image.last("WORKDIR")+":rw") {
				t.Errorf("%s mounts %s, the image's user owns %s", name, volume, image.last("WORKDIR"))
			}
		}
	}
}

func TestComposeSetsWhatTheServicesKnow(t *testing.T) {
	for name, c := range resolve(t).ours() {
		resolved, err := settings.Load(settings.Options{Environ: c.environ(), EnvFile: os.DevNull})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		known := make(map[string]bool)
		for _, field := range resolved.Fields() {
			known[field.Env] = true
		}
		for variable, value := range c.Environment {
			if !known[variable] {
				t.Errorf("%s sets %s, which no setting reads", name, variable)
			}
			if path, isPath := strings.CutPrefix(value, "/"); isPath && !strings.HasPrefix(path, "data/") && !strings.HasPrefix(path, "run/secrets/") {
				t.Errorf("%s writes to %s=%s, outside of its volume", name, variable, value)
			}
		}
		if c.StopGracePeriod <= resolved.Weatherlight.ShutdownTimeout {
			t.Errorf("%s is killed after %s, its stop may take %s", name, c.StopGracePeriod, resolved.Weatherlight.ShutdownTimeout)
		}
	}
}

func TestComposeHasOneSecretAndNoDefaultForIt(t *testing.T) {
	for name, c := range resolve(t).ours() {
		if got := c.Environment["ESPER_LEYLINE_SECRET"]; got != secret {
			t.Errorf("the secret of %s is %q", name, got)
		}
	}
	printed, err := attempt(".", []string{"ESPER_LEYLINE_SECRET="}, "docker-compose", "-f", composeFile, "config")
	if err == nil || !strings.Contains(printed, "set the secret") {
		t.Errorf("without a secret: %v, %s", err, printed)
	}
}

// TestN26ComposeRedisKeepsAJournal starts a server as the file does.
func TestN26ComposeRedisKeepsAJournal(t *testing.T) {
	command := resolve(t).Services["redis"].Command
	if len(command) == 0 || command[0] != "redis-server" {
		t.Fatalf("Redis is started by %q", command)
	}
	server := redistest.Start(t, command[1:]...)
	host, port, _ := strings.Cut(server.Addr, ":")
	for setting, want := range map[string]string{"appendonly": "yes", "appendfsync": "always"} {
		if got := run(t, ".", nil, "redis-cli", "-h", host, "-p", port, "CONFIG", "GET", setting); got != setting+"\n"+want+"\n" {
			t.Errorf("%s is %q, want %s", setting, got, want)
		}
	}
}

// TestUnsoundComposeFilesAreFound: a check that lets everything pass would be none.
func TestUnsoundComposeFilesAreFound(t *testing.T) {
	sound, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, mutant := range []struct{ what, old, instead string }{
		{"misspelled key", "healthcheck:\n", "healthchek:\n"},
		{"condition that is none", "service_healthy", "service_well"},
		{"service that is not there", "redis: {condition", "valkey: {condition"},
		{"volume that is not there", "weatherlight:/data", "elsewhere:/data"},
		{"time that is none", "interval: 5s", "interval: soon"},
		{"anchor that is not there", "*healthcheck", "*health"},
	} {
		broken := bytes.Replace(sound, []byte(mutant.old), []byte(mutant.instead), 1)
		if bytes.Equal(broken, sound) {
			t.Errorf("%s: the file does not say %q", mutant.what, mutant.old)
		}
		file := filepath.Join(t.TempDir(), composeFile)
		if err := os.WriteFile(file, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := attempt(".", []string{"ESPER_LEYLINE_SECRET=" + secret}, "docker-compose", "-f", file, "config"); err == nil {
			t.Errorf("%s: docker-compose config says nothing", mutant.what)
		}
	}
}
