package selection

import "testing"

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
