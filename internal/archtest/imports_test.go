package archtest

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// subsystem is what a subsystem may import: contracts, never a neighbour.
var subsystem = []string{
	"leyline", "telemetry", "signing", "kernel", "trainer", "internal/atomicfile", "internal/cadence", "internal/regularfile",
}

// allowedImports is the import table of docs/architecture.md: what the
// production code below each folder may import of this module. A folder
// always reaches what is below itself.
var allowedImports = map[string][]string{
	"leyline":   {},
	"settings":  {"internal/regularfile"},
	"supervise": {},
	"kernel":    {},
	"signing":   {"leyline"},
	"trainer":   {"leyline"},
	"telemetry": {"leyline"},
	"oona":      {"leyline", "signing", "telemetry", "internal/cadence", "internal/regularfile"},
	"karn":      subsystem,
	"tezzeret":  subsystem,
	"urza":      subsystem,
	"kasmina":   subsystem,
	"tamiyo":    subsystem,

	"kasmina/promotion":          {"leyline"},
	"kasmina/internal/lifecycle": {"leyline"},
	"kasmina/internal/evidence":  {"trainer"},
	"kasmina/internal/gate": {
		"leyline", "trainer", "kasmina/promotion", "kasmina/internal/lifecycle", "kasmina/internal/evidence",
	},

	"tolaria": {
		"leyline", "telemetry", "signing", "kernel", "trainer", "kasmina/graft", "internal/atomicfile", "internal/cadence", "internal/regularfile",
	},
	"tezzeret/forge":     {"leyline", "telemetry", "internal/atomicfile", "internal/regularfile"},
	"tamiyo/policy":      {"leyline", "telemetry", "internal/atomicfile", "internal/regularfile"},
	"tamiyo/fieldreport": {"leyline", "telemetry", "internal/atomicfile", "internal/regularfile"},
	"weatherlight": {
		"leyline", "settings", "signing", "telemetry", "supervise", "oona",
		"karn", "tezzeret", "urza", "kasmina", "tamiyo", "trainer", "internal/sdnotify", "internal/httpserver",
		"internal/cadence",
	},

	"oona/internal/entry":     {},
	"oona/internal/stats":     {},
	"oona/internal/redis":     {"internal/cadence", "internal/regularfile", "oona/internal/entry"},
	"oona/internal/bounds":    {"leyline"},
	"oona/internal/envelope":  {"leyline", "signing", "oona/internal/bounds"},
	"oona/internal/admission": {"leyline", "oona/internal/entry", "oona/internal/redis"},
	"oona/internal/verify": {
		"leyline", "signing", "oona/deadletter", "oona/internal/bounds", "oona/internal/entry", "oona/internal/envelope",
	},
	"oona/internal/delivery": {
		"internal/cadence", "oona/deadletter", "oona/internal/entry", "oona/internal/redis", "oona/internal/stats", "oona/internal/envelope",
		"oona/internal/verify",
	},
	"oona/embedded":   {},
	"oona/lease":      {"oona/internal/redis"},
	"oona/admin":      {"oona/internal/entry", "oona/internal/redis"},
	"oona/deadletter": {"leyline", "signing", "oona/internal/entry", "oona/internal/redis", "oona/internal/envelope"},
	"oona/outbox":     {"leyline", "oona", "oona/internal/redis", "internal/cadence", "internal/regularfile"},

	"weatherlight/assembly": {"settings", "signing", "leyline", "oona", "karn", "tezzeret", "urza", "trainer", "weatherlight/internal/shmsignal"},
	"weatherlight/preflight": {
		"settings", "signing", "oona", "urza", "tamiyo/fieldreport", "tamiyo/policy", "internal/httpserver", "internal/sdnotify",
		"weatherlight/assembly", "weatherlight/internal/datadir", "weatherlight/internal/httpapi", "weatherlight/internal/shmsignal",
	},

	"weatherlight/internal/telemetryqueue": {"leyline", "telemetry", "oona", "internal/cadence"},
	"weatherlight/internal/health":         {"leyline", "telemetry", "supervise", "oona", "internal/cadence"},
	"weatherlight/internal/nissawatch":     {"internal/cadence"},
	"weatherlight/internal/fleet": {
		"signing", "telemetry", "supervise", "oona/lease", "tamiyo", "internal/cadence",
	},
	"weatherlight/internal/capability": {"karn", "kasmina", "urza"},
	"weatherlight/internal/evidence":   {"leyline", "oona", "tamiyo", "tamiyo/fieldreport", "urza"},
	"weatherlight/internal/policies":   {"leyline", "oona", "tamiyo", "tamiyo/policy", "urza", "weatherlight/internal/control"},
	"weatherlight/internal/bootlog":    {"supervise"},
	"weatherlight/internal/status": {
		"leyline", "telemetry", "supervise", "oona", "tezzeret", "urza", "internal/version",
		"weatherlight/internal/fleet", "weatherlight/internal/health", "weatherlight/internal/nissawatch", "weatherlight/internal/shmsignal",
	},
	"weatherlight/internal/summary":     {"leyline", "telemetry", "weatherlight/internal/health", "weatherlight/internal/nissawatch"},
	"weatherlight/internal/selection":   {"leyline", "karn", "tamiyo", "tezzeret", "urza"},
	"weatherlight/internal/shmsignal":   {"leyline", "telemetry", "internal/cadence"},
	"weatherlight/internal/metrics":     {"telemetry", "oona", "internal/version"},
	"weatherlight/internal/maintenance": {"telemetry", "urza", "internal/cadence"},
	"weatherlight/internal/emergency": {
		"leyline", "telemetry", "oona", "kasmina", "weatherlight/internal/shmsignal",
	},
	"weatherlight/internal/datadir":   {"internal/atomicfile", "internal/regularfile"},
	"weatherlight/internal/runrecord": {"leyline", "oona", "internal/cadence"},
	"weatherlight/internal/control": {
		"leyline", "signing", "oona", "kasmina", "tamiyo", "trainer", "telemetry", "weatherlight/internal/runrecord",
		"internal/cadence",
	},
	"weatherlight/internal/runsimtest": {
		"leyline", "telemetry", "signing", "kernel", "oona", "kasmina", "tamiyo", "trainer",
		"weatherlight/internal/control", "weatherlight/internal/runrecord", "internal/simrun",
	},
	"weatherlight/internal/httpapi": {"settings", "leyline", "trainer", "urza", "internal/httpserver", "weatherlight/internal/control"},

	"tamiyo/internal/rules": {"leyline"},

	"tamiyo/transcript": {"leyline", "telemetry", "trainer", "tamiyo"},

	"tamiyo/policy/network":  {"kernel"},
	"tamiyo/policy/payloads": {"internal/atomicfile", "internal/regularfile"},
	"tamiyo/policy/accepted": {"leyline", "tamiyo/policy/payloads"},
	"tamiyo/policy/journal":  {"leyline", "internal/atomicfile", "internal/regularfile", "tamiyo/policy/accepted"},
	"tamiyo/policy/learn": {
		"leyline", "kernel", "tamiyo", "tamiyo/policy/network", "tamiyo/transcript",
	},
	"tamiyo/policy/inspect": {
		"tamiyo/policy/accepted", "tamiyo/policy/journal", "tamiyo/policy/network", "tamiyo/policy/payloads",
	},

	"urza/internal/fault":     {},
	"urza/internal/metadata":  {"leyline"},
	"urza/internal/catalogue": {"leyline", "internal/database", "urza/internal/fault"},
	"urza/internal/notes":     {"urza/internal/catalogue", "urza/internal/fault"},
	"urza/internal/artifact":  {"internal/atomicfile", "internal/regularfile", "urza/internal/fault"},
	"urza/internal/retention": {"urza/internal/artifact", "urza/internal/catalogue"},
	"urza/internal/recovery": {
		"leyline", "internal/regularfile", "urza/internal/artifact", "urza/internal/catalogue", "urza/internal/fault", "urza/internal/metadata",
	},

	"nissa": {
		"leyline", "telemetry", "trainer", "oona", "supervise", "internal/sdnotify", "internal/httpserver", "internal/version",
	},
	"nissa/internal/runs":       {"leyline", "trainer"},
	"nissa/internal/runstore":   {"internal/database", "nissa/internal/runs"},
	"nissa/internal/ingest":     {"nissa/internal/runs"},
	"nissa/internal/api":        {"nissa/internal/route", "nissa/internal/runs", "nissa/internal/runstore"},
	"nissa/internal/page":       {},
	"nissa/internal/letterapi":  {"leyline", "telemetry", "oona/deadletter", "nissa/internal/route", "nissa/internal/wish"},
	"nissa/internal/route":      {"internal/httpserver"},
	"nissa/internal/wish":       {},
	"nissa/internal/elastic":    {"telemetry", "leyline", "internal/cadence", "nissa/internal/runs"},
	"nissa/internal/rules":      {},
	"nissa/internal/setback":    {},
	"nissa/internal/alert":      {"nissa/internal/setback"},
	"nissa/internal/grouping":   {"nissa/internal/alert", "nissa/internal/setback"},
	"nissa/internal/notify":     {"nissa/internal/alert", "nissa/internal/grouping", "nissa/internal/rules"},
	"nissa/internal/evaluate":   {"leyline", "nissa/internal/alert", "nissa/internal/rules", "nissa/internal/setback"},
	"nissa/internal/objectives": {"leyline", "nissa/internal/rules", "nissa/internal/setback"},
	"nissa/internal/alerting": {
		"leyline", "telemetry", "nissa/internal/alert", "nissa/internal/evaluate", "nissa/internal/grouping",
		"nissa/internal/notify", "nissa/internal/objectives", "nissa/internal/rules", "nissa/internal/runs", "nissa/internal/runstore",
		"nissa/internal/setback",
	},
	"nissa/drill": {"leyline", "telemetry", "signing", "oona", "nissa", "internal/httpserver"},
	"nissa/internal/alertapi": {
		"nissa/internal/alert", "nissa/internal/alerting", "nissa/internal/objectives", "nissa/internal/route", "nissa/internal/rules",
		"nissa/internal/wish",
	},

	"internal": {"leyline", "signing", "telemetry", "supervise", "kernel", "oona"},

	"internal/atomicfile":  {"internal/regularfile"},
	"internal/cadence":     {},
	"internal/database":    {"internal/atomicfile", "internal/regularfile"},
	"internal/regularfile": {},
	"internal/version":     {},
	"internal/sdnotify":    {"supervise"},
	"internal/httpserver":  {"supervise", "internal/regularfile"},

	"internal/simtest": {"leyline", "supervise", "oona", "weatherlight", "internal"},
	"cmd":              {"*"},
	"examples":         {"*"},
}

// plain are the folders that import nothing but the standard library.
var plain = []string{"supervise", "internal/atomicfile", "internal/cadence", "internal/regularfile", "internal/version"}

// onlyImporter names the one folder that may import a library.
var onlyImporter = map[string]string{
	"github.com/redis/rueidis":     "oona",
	"github.com/caarlos0/env":      "settings",
	"github.com/joho/godotenv":     "settings",
	"github.com/alicebob/":         "oona/embedded",
	"github.com/spf13/cobra":       "cmd",
	"modernc.org/sqlite":           "internal/database",
	"github.com/jackc/pgx":         "internal/database",
	"github.com/pressly/goose":     "internal/database",
	"github.com/minio/minio-go":    "urza/internal/artifact",
	"gonum.org/v1/gonum":           "kernel",
	"charm.land/":                  "cmd/esperctl/internal/top",
	"github.com/lmittmann/tint":    "cmd",
	"github.com/coreos/go-systemd": "internal/sdnotify",
	"github.com/expr-lang/expr":    "nissa/internal/rules",
	"github.com/nicholas-fedor/":   "nissa/internal/notify",
}

// importExceptions lists single imports that break the table, with reasons.
var importExceptions = map[string]string{
	"oona/outbox/outbox.go modernc.org/sqlite":               "the outbox is a local file that survives a kill",
	"internal/redistest/cluster.go github.com/redis/rueidis": "servers become a cluster by commands that the bus has no use for",
}

func TestImportTable(t *testing.T) { hold(t, production, importRule, importExceptions) }

func TestImportRuleSeesForbiddenEdges(t *testing.T) {
	for text, want := range map[string]int{
		`package kasmina; import "github.com/esper-lite/weatherlight/oona"`:                 1,
		`package kasmina; import "github.com/esper-lite/weatherlight/leyline"`:              0,
		`package kasmina; import "github.com/redis/rueidis"`:                                1,
		`package kasmina; import "github.com/esper-lite/weatherlight/kasmina/internal/fsm"`: 0,
	} {
		if got := check(t, "kasmina/x.go", text, importRule); len(got) != want {
			t.Errorf("%s: %d findings %v, want %d", text, len(got), got, want)
		}
	}
	if got := check(t, "supervise/x.go", `package supervise; import "golang.org/x/sync/errgroup"`, importRule); len(got) != 1 {
		t.Error("supervise may import the standard library only")
	}
	if got := check(t, "helpers/x.go", `package helpers`, importRule); len(got) != 1 {
		t.Error("a folder outside the table must be named")
	}
}

func importRule(s *source) []finding {
	owner, allowed, known := rowOf(s.dir)
	if !known {
		return []finding{s.find(s.file.Name, "folder", "folder %s is not in the import table", s.dir)}
	}
	var found []finding
	for _, spec := range s.file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value) // the parser accepted it
		if why := refuse(s.dir, owner, allowed, imported); why != "" {
			found = append(found, s.find(spec, imported, "imports %s: %s", imported, why))
		}
	}
	return found
}

// rowOf returns the row of the table that governs a folder: its own, or that of the
// nearest folder above it.
func rowOf(dir string) (owner string, allowed []string, known bool) {
	for owner = dir; ; owner = path.Dir(owner) {
		if allowed, known = allowedImports[owner]; known || owner == "." || owner == "/" {
			return owner, allowed, known
		}
	}
}

func refuse(dir, owner string, allowed []string, imported string) string {
	ours, isOurs := strings.CutPrefix(imported, module+"/")
	if isOurs {
		return refuseOurs(owner, allowed, ours)
	}
	if slices.Contains(plain, owner) && strings.Contains(imported, ".") {
		return owner + " stands on the standard library alone"
	}
	for library, importer := range onlyImporter {
		if strings.HasPrefix(imported, library) && !under(dir, importer) {
			return "only " + importer + " may"
		}
	}
	return ""
}

func refuseOurs(owner string, allowed []string, imported string) string {
	if under(imported, owner) {
		return ""
	}
	for _, folder := range allowed {
		if folder == "*" || under(imported, folder) {
			return ""
		}
	}
	return "the import table does not have this edge"
}
