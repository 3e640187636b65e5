package selection

import (
	"testing"
	"testing/synctest"
	"time"
)

// An approval is given by the library, for the artifact; a quarantine can only be
// lifted by the deployment.
func TestControllerGerminatesOnlyWhatTheCataloguePermits(t *testing.T) {
	selection, _ := open(t)
	catalog := selection.config.Catalog
	for id, want := range map[string]bool{"BP002": true, "BP045": false, "BP036": true, "imported": true} {
		if err := selection.Permit(t.Context(), id); (err == nil) != want {
			t.Errorf("%s is permitted: %v, want %t", id, err, want)
		}
	}
	metrics := catalog.Stats()
	if metrics.Safe != 1 || metrics.Experimental != 1 || metrics.Failed != 1 {
		t.Errorf("metrics %v", metrics)
	}
}

// What a report will look at is kept from growing too old to stand in.
func TestSlotsThatArePreparedAreFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := time.Duration(0)
		selection := &Selection{lists: slowLibrary(&takes)}
		defer selection.Close()
		for range 2 { // two are surveyed at a time
			selection.Prepare("run", [][]int{{1}, {2}, {3}, {4}})
			synctest.Wait()
		}
		if known := len(selection.lists.of); known != 4 {
			t.Errorf("%d slots are found out", known)
		}
	})
}
