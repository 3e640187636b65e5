package alerting

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
	"github.com/esper-lite/weatherlight/nissa/internal/objectives"
)

// Store keeps a text over restarts.
type Store interface {
	// Load is the text, nil when there is none.
	Load() ([]byte, error)
	Save(text []byte) error
	// SetAside keeps a text that cannot be read from being written over.
	SetAside() error
}

// FileStore is a file.
type FileStore string

// Load reads it.
func (f FileStore) Load() ([]byte, error) {
	if err := atomicfile.Writable(filepath.Dir(string(f)), ".alerts.*.probe"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, errors.Join(err, atomicfile.Sweep(string(f)))
}

// Save replaces it in one step.
func (f FileStore) Save(text []byte) error { return atomicfile.WriteFile(string(f), text, 0o600) }

// SetAside gives it another name.
func (f FileStore) SetAside() error { return os.Rename(string(f), string(f)+".unreadable") }

// state is all that is kept.
type state struct {
	Version    int              `json:"version"`
	Alerts     []alert.Alert    `json:"alerts"`
	Groups     []grouping.Group `json:"groups"`
	Silences   alert.Silences   `json:"silences"`
	Objectives objectives.Kept  `json:"objectives"`
}

const stateVersion = 1

// restore takes over what was kept. What cannot be read is set aside.
func (d *Desk) restore() error {
	if d.config.Store == nil {
		return nil
	}
	text, err := d.config.Store.Load()
	if err != nil {
		return fmt.Errorf("read the state of the alerts: %w", err)
	}
	if text == nil {
		return nil
	}
	var kept state
	if err := json.Unmarshal(text, &kept); err != nil || kept.Version != stateVersion {
		d.logger.Error("the state of the alerts cannot be read: it is set aside, and all alerts begin anew",
			"version", kept.Version, "error", err)
		return d.config.Store.SetAside()
	}
	d.tracker.Restore(kept.Alerts)
	d.planner.Restore(kept.Groups)
	d.silences = kept.Silences.At(time.Now())
	d.objectives.Restore(kept.Objectives)
	return nil
}

func (d *Desk) dirty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsaved
}

// keep saves, and tells when that fails.
func (d *Desk) keep() {
	if err := d.save(); err != nil {
		d.figures.unkept.Inc()
		d.logger.Warn("the state of the alerts is not kept", "error", err)
	}
}

func (d *Desk) save() error {
	if d.config.Store == nil {
		return nil
	}
	d.mu.Lock()
	kept := state{stateVersion, d.tracker.Kept(), d.planner.Kept(), d.silences, d.objectives.Kept()}
	d.unsaved = false
	d.mu.Unlock()
	text, err := json.Marshal(kept)
	if err == nil {
		err = d.config.Store.Save(text)
	}
	if err != nil {
		d.mu.Lock()
		d.unsaved = true
		d.mu.Unlock()
		return fmt.Errorf("keep the state of the alerts: %w", err)
	}
	return nil
}
