package e2e

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"

	"github.com/esper-lite/weatherlight/internal/pgtest"
)

// Somebody who has the tables of the catalogue locked keeps nobody for longer than a boot
// may take: the check says what the boot says, and the tool gives up with a reason.
func TestLockedCatalogueIsToldInTime(t *testing.T) {
	begin(t)
	w := newWorld(t)
	url := pgtest.Start(t).URL("")
	w.environ = append(w.environ, "URZA_DATABASE_URL="+url, "WEATHERLIGHT_BOOT_TIMEOUT=2s")
	kernel := filepath.Join(w.folder, "kernel.pt")
	if err := os.WriteFile(kernel, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, w.folder, w.environ, "esperctl", "kernels", "import", kernel, "--blueprint", "BP001") // makes the tables
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, tables := range []string{"blueprints", "urza_schema_version, blueprints, urza_reviews, urza_quarantine, urza_variants"} {
		lock, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lock.ExecContext(t.Context(), "LOCK TABLE "+tables+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{
			{service, "--check"}, {service}, {"esperctl", "kernels", "list"}, {"esperctl", "kernels", "verify"}, {"esperctl", "kernels", "show", compiled},
		} {
			p := launch(t, w.folder, w.environ, command[0], command[1:]...)
			code, _ := p.exit(patience)
			want := 3
			if command[0] != service {
				want = 1
				mustSay(t, command[0], p.stderr.String(), "did not answer within 2s")
			}
			if code != want {
				t.Errorf("%v with %s locked: exit code %d, want %d: %s", command, tables, code, want, p.stderr.String())
			}
		}
		if err := lock.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}
