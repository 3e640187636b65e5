package catalogue

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// Key names one kernel: a blueprint's own, or one of its variants, by the key that
// trainer.Variant gives it.
type Key struct{ ID, Variant string }

// String is for people.
func (k Key) String() string {
	if k.Variant == "" {
		return k.ID
	}
	return k.ID + " (" + k.Variant + ")"
}

// Unique is a text that no other key has: no id or variant in use holds a zero byte.
func (k Key) Unique() string { return k.ID + "\x00" + k.Variant }

// Row is one line of the catalogue as the database holds it. Two equal rows hold the same
// record, so comparing rows is how memory is revalidated.
type Row struct {
	ID, Name, Tier, Path, Metadata string
	Variant                        string // which of the blueprint's kernels; empty is its own
	Quarantined                    bool   // its file was damaged
	Approved                       string // the checksum that an operator approved
	SetAside                       string // when an operator set it aside; empty is not
}

// Key is what the row is of.
func (r Row) Key() Key { return Key{r.ID, r.Variant} }

// promisesAs says that two rows differ in their marks at most: those do not change what a
// row promises.
func (r Row) promisesAs(other Row) bool {
	r.Quarantined, r.Approved, r.SetAside = other.Quarantined, other.Approved, other.SetAside
	return r == other
}

// Storable is false for ids that Postgres refuses to compare with: they are in no
// row, and asking for one is no failure of the database.
func Storable(id string) bool { return utf8.ValidString(id) && !strings.ContainsRune(id, 0) }

type scanner interface{ Scan(dest ...any) error }

func scanRow(from scanner) (Row, error) {
	// The prototype's tables may hold nothing where something has to be: such a row is
	// one that cannot be used, and no failure of the database.
	var id, name, tier, path, metadata sql.NullString
	var r Row
	err := from.Scan(&id, &name, &tier, &path, &metadata, &r.Quarantined, &r.Approved, &r.SetAside, &r.Variant)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Row{}, fault.ErrNotFound
	case err != nil:
		return Row{}, fmt.Errorf("%w: read row: %w", fault.ErrUnavailable, err)
	}
	r.ID, r.Name, r.Tier, r.Path, r.Metadata = id.String, name.String, tier.String, path.String, metadata.String
	return r, nil
}

// visitRows calls visit for each row that a query found.
func visitRows(rows *sql.Rows, err error, visit func(scanner) error) error {
	if err != nil {
		return fmt.Errorf("%w: list rows: %w", fault.ErrUnavailable, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := visit(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%w: list rows: %w", fault.ErrUnavailable, err)
	}
	return nil
}

// texts reads one text a row.
func texts(rows *sql.Rows, err error) ([]string, error) {
	var found []string
	err = visitRows(rows, err, func(from scanner) error {
		var text string
		if err := from.Scan(&text); err != nil {
			return fmt.Errorf("%w: list: %w", fault.ErrUnavailable, err)
		}
		found = append(found, text)
		return nil
	})
	return found, err
}
