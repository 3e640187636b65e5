package weatherlight

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// tell gives Redis a command whose answer is OK.
func tell(t *testing.T, redis *redistest.Server, words ...string) {
	t.Helper()
	if reply := replyTo(t, redis, words...); reply != "+OK" {
		t.Fatalf("%v: %s", words, reply)
	}
}

// replyTo is the first line of what Redis answers to a command.
func replyTo(t *testing.T, redis *redistest.Server, words ...string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", redis.Addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " ")); err != nil {
		t.Fatal(err)
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return strings.TrimSpace(reply)
}

// spoil makes a folder, or a file of no known kind, in the data folder.
func spoil(t *testing.T, resolved *settings.Settings, name, content string) {
	t.Helper()
	path := filepath.Join(resolved.Weatherlight.DataDir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if content == "" {
		err = errors.Join(err, os.Mkdir(path, 0o700))
	} else {
		err = errors.Join(err, os.WriteFile(path, []byte(content), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// killedOutbox leaves in the data folder what a process that was killed leaves.
func killedOutbox(t *testing.T, resolved *settings.Settings) {
	t.Helper()
	lives := filepath.Join(t.TempDir(), "outbox.db")
	box, err := outbox.Open(t.Context(), outbox.Config{File: lives})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := box.Put(t.Context(), oona.Message{Payload: &leyline.FieldReport{ReportId: "waits"}}); err != nil {
		t.Fatal(err)
	}
	copyDatabase(t, resolved, lives, "outbox.db")
}

// killedCatalogue leaves such a catalogue.
func killedCatalogue(t *testing.T, resolved *settings.Settings) {
	t.Helper()
	lives := filepath.Join(t.TempDir(), "catalog.db")
	config := assembly.Library(resolved)
	config.DatabaseURL = "sqlite:///" + lives
	library, err := urza.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer library.Close()
	copyDatabase(t, resolved, lives, "../urza/catalog.db")
}

// copyDatabase copies a database that is open, with its log, and leaves the first page
// half written, as a kill amid a checkpoint does: the log has all of it.
func copyDatabase(t *testing.T, resolved *settings.Settings, from, name string) {
	t.Helper()
	for _, part := range []string{"", "-wal"} {
		content, err := os.ReadFile(from + part)
		if err != nil {
			t.Fatal(err)
		}
		if part == "" {
			clear(content[100:]) // behind the header
		}
		spoil(t, resolved, name+part, string(content))
	}
}

// fault is something that may keep a service from starting.
type fault struct {
	name, check, says string // it says nothing when the service starts
	warns             bool   // and says so all the same
	configuration     bool   // is what is wrong
	spoil             func(t *testing.T, redis *redistest.Server, resolved *settings.Settings)
}

// telling spoils Redis by commands.
func telling(commands ...string) func(*testing.T, *redistest.Server, *settings.Settings) {
	return func(t *testing.T, redis *redistest.Server, _ *settings.Settings) {
		t.Helper()
		for _, command := range commands {
			tell(t, redis, strings.Fields(command)...)
		}
	}
}

// spoiling spoils a file of the data folder, or of the folder of the policies beside it.
func spoiling(name, content string) func(*testing.T, *redistest.Server, *settings.Settings) {
	return func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
		t.Helper()
		spoil(t, resolved, name, content)
	}
}

// linking has a name lead to what is not there.
func linking(name string) func(*testing.T, *redistest.Server, *settings.Settings) {
	return func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
		t.Helper()
		path := filepath.Join(resolved.Weatherlight.DataDir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(filepath.Join(t.TempDir(), "none", "x"), path)); err != nil {
			t.Fatal(err)
		}
	}
}

// piping puts a pipe in the place of such a file.
func piping(name string) func(*testing.T, *redistest.Server, *settings.Settings) {
	return func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
		t.Helper()
		path := filepath.Join(resolved.Weatherlight.DataDir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

const garbage = "no database, whatever it is called"

const makeNormal = "XGROUP CREATE oona.normal weatherlight 0 MKSTREAM"

func busFaults() []fault {
	return []fault{
		{name: "sound"},
		{name: "replica", check: "bus", says: "READONLY", spoil: telling("REPLICAOF 127.0.0.1 1")},
		{name: "out of memory", check: "bus", says: "OOM", spoil: telling("CONFIG SET maxmemory 1")},
		{name: "too few replicas", check: "bus", says: "NOREPLICAS", spoil: telling("CONFIG SET min-replicas-to-write 1")},
		{name: "text for requests", check: "bus", says: "WRONGTYPE", spoil: telling("SET oona.kernels.requests text")},
		{name: "text for answers", check: "bus", says: "WRONGTYPE", spoil: telling("SET oona.kernels.ready text")},
		{name: "largest id", check: "bus", says: "RENAME oona.normal", spoil: telling(makeNormal, "XSETID oona.normal 18446744073709551615-18446744073709551615")},
		{name: "group that is too far", check: "bus", says: "XGROUP SETID oona.normal", spoil: telling(
			makeNormal, "XGROUP SETID oona.normal weatherlight 99999999999999-0")},
		{name: "group at the end", spoil: telling(makeNormal, "XSETID oona.normal 5-1", "XGROUP SETID oona.normal weatherlight $")},
		{name: "group of somebody else", spoil: telling("XGROUP CREATE oona.normal other 99999999999999-0 MKSTREAM")},
		{name: "text for dead letters", check: "rights", says: "WRONGTYPE", spoil: telling("SET oona.deadletter text")},
		{name: "text for the members", check: "rights", says: "oona:members:weatherlight", spoil: telling("SET oona:members:weatherlight text")},
		{name: "may not add", check: "rights", says: "XADD oona.normal", spoil: telling("ACL SETUSER default -xadd")},
		{name: "may not acknowledge", check: "rights", says: "XACK oona.normal", spoil: telling("ACL SETUSER default -xack")},
		{name: "may not mark", check: "rights", says: "SET oona:replay", spoil: telling("ACL SETUSER default -set")},
		{name: "may not touch records", check: "rights", says: "weatherlight:kasmina", spoil: telling("ACL SETUSER default resetkeys ~oona.* ~oona:*")},
		{name: "may not tell", spoil: telling("ACL SETUSER default -info -type"), check: "bus", warns: true, says: "does not tell its version"},
		{name: "evicts all", check: "eviction", says: "allkeys-lru", spoil: telling("CONFIG SET maxmemory 1gb", "CONFIG SET maxmemory-policy allkeys-lru")},
		{name: "evicts marks", check: "eviction", says: "volatile-lru", spoil: telling("CONFIG SET maxmemory 1gb", "CONFIG SET maxmemory-policy volatile-lru")},
		{name: "would evict without a bound", spoil: telling("CONFIG SET maxmemory-policy allkeys-lru")},
		{name: "bound without eviction", spoil: telling("CONFIG SET maxmemory 1gb")},
		{name: "no journal", check: "persistence", warns: true, says: "append-only", spoil: telling("CONFIG SET appendonly no")},
	}
}

func diskFaults() []fault {
	return []fault{
		{name: "spoilt outbox", check: "data folder", says: "outbox.db", spoil: spoiling("outbox.db", garbage)},
		{name: "outbox is a folder", check: "data folder", says: "outbox.db", spoil: spoiling("outbox.db", "")},
		{name: "outbox of one that was killed", spoil: func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
			killedOutbox(t, resolved)
		}},
		{name: "journal of the outbox is a folder", check: "data folder", says: "outbox.db-journal", spoil: spoiling("outbox.db-journal", "")},
		{name: "log of the outbox is a pipe", check: "data folder", says: "outbox.db-wal", spoil: piping("outbox.db-wal")},
		{name: "journal of the catalogue is a pipe", check: "catalogue", says: "catalog.db-journal", spoil: piping("../urza/catalog.db-journal")},
		{name: "log of the catalogue is a pipe", check: "catalogue", says: "catalog.db-wal", spoil: piping("../urza/catalog.db-wal")},
		{name: "index of the catalogue is a folder", check: "catalogue", says: "catalog.db-shm", spoil: spoiling("../urza/catalog.db-shm", "")},
		{name: "name is a folder", check: "data folder", says: "instance-id", spoil: spoiling("instance-id", "")},
		{name: "spoilt policies", check: "policies", says: "active.json", spoil: spoiling("../tamiyo/policies/active.json", "{")},
		{name: "policies are a folder", check: "policies", says: "active.json", spoil: spoiling("../tamiyo/policies/active.json", "")},
		{name: "field reports are a folder", check: "field reports", says: "field_reports.log", spoil: spoiling("../tamiyo/field_reports.log", "")},
		{name: "tail of the field reports is torn", spoil: spoiling("../tamiyo/field_reports.log", garbage)},
		{name: "spoilt catalogue", check: "catalogue", says: "catalog.db", spoil: spoiling("../urza/catalog.db", garbage)},
		{name: "catalogue of one that was killed", spoil: func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
			killedCatalogue(t, resolved)
		}},
		{name: "service manager is gone", check: "service manager", says: "notify service manager", spoil: func(t *testing.T, _ *redistest.Server, resolved *settings.Settings) {
			t.Setenv("NOTIFY_SOCKET", filepath.Join(filepath.Dir(resolved.Weatherlight.DataDir), "nobody"))
		}},
	}
}

// placeFaults has something else where a boot reads or makes a file or a folder.
func placeFaults() []fault {
	var faults []fault
	for _, place := range []struct{ name, check string }{
		{"../urza", "catalogue, kernel files"}, {"../urza/artifacts", "kernel files"}, {"../tamiyo", "policies, field reports"},
		{"../tamiyo/policies", "policies"}, {"../tamiyo/policies/payloads", "policies"}, {"../data", "data folder"},
	} {
		faults = append(faults, fault{
			name: place.name + " links to nothing", check: place.check, says: filepath.Base(place.name), spoil: linking(place.name),
		}, fault{
			name: place.name + " is a file", check: place.check, says: filepath.Base(place.name), spoil: spoiling(place.name, garbage),
		})
	}
	for _, place := range []struct{ name, check string }{
		{"../urza/catalog.db", "catalogue"}, {"../urza/catalog.db-wal", "catalogue"}, {"../urza/catalog.db-shm", "catalogue"},
		{"../urza/catalog.db.lock", "catalogue"}, {"outbox.db", "data folder"}, {"outbox.db-wal", "data folder"},
		{"outbox.db-shm", "data folder"}, {"weatherlight.lock", "data folder"}, {"instance-id", "data folder"},
		{"../tamiyo/weatherlight.lock", "field reports"}, {"../tamiyo/field_reports.log", "field reports"},
		{"../tamiyo/field_reports.index.json", "field reports"}, {"../tamiyo/field_reports.log.published", "field reports"},
		{"../tamiyo/policies/active.json", "policies"},
	} {
		says := filepath.Base(place.name)
		faults = append(faults,
			fault{name: place.name + " links to nothing", check: place.check, says: says, spoil: linking(place.name)},
			fault{name: place.name + " is a pipe", check: place.check, says: says, spoil: piping(place.name)},
			fault{name: place.name + " is a folder", check: place.check, says: says, spoil: spoiling(place.name, "")},
		)
	}
	return faults
}

// listening sets where a service answers, and whom.
func listening(addr, token, tokenFile, pair string) func(*testing.T, *redistest.Server, *settings.Settings) {
	return func(_ *testing.T, _ *redistest.Server, resolved *settings.Settings) {
		resolved.Weatherlight.HTTP.Addr, resolved.Weatherlight.HTTP.Token = settings.Addr(addr), settings.NewSecret(token)
		resolved.Weatherlight.HTTP.TokenFile = tokenFile
		resolved.Weatherlight.HTTP.CertFile, resolved.Weatherlight.HTTP.KeyFile = pair, pair
	}
}

func listenerFaults() []fault {
	const token, everywhere, port = "a-token-of-sixteen", "0.0.0.0:0", "http port"
	return []fault{
		{name: "exposed without a token", check: port, configuration: true, says: "WEATHERLIGHT_HTTP_TOKEN", spoil: listening(everywhere, "", "", "")},
		{name: "exposed without saying where", check: port, configuration: true, says: "WEATHERLIGHT_HTTP_TOKEN", spoil: listening(":0", "", "", "")},
		{name: "exposed without encryption", check: port, warns: true, says: "WEATHERLIGHT_HTTP_TLS_CERT_FILE", spoil: listening(everywhere, token, "", "")},
		{name: "file of tokens is not there", check: port, configuration: true, says: "WEATHERLIGHT_HTTP_TOKEN_FILE", spoil: listening("127.0.0.1:0", token, "/nowhere/tokens", "")},
		{name: "certificate is not there", check: port, configuration: true, says: "WEATHERLIGHT_HTTP_TLS_CERT_FILE", spoil: listening(everywhere, token, "", "/nowhere/pem")},
		{name: "certificate is none", check: port, configuration: true, says: "no pair", spoil: func(t *testing.T, redis *redistest.Server, resolved *settings.Settings) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "pem")
			if err := os.WriteFile(path, []byte(garbage), 0o600); err != nil {
				t.Fatal(err)
			}
			listening(everywhere, token, "", path)(t, redis, resolved)
		}},
	}
}
