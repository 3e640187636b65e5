package weatherlight

import (
	"github.com/esper-lite/weatherlight/internal/cadence"
)

// rhythm is that of the bus client, so that the loops of this process fall
// together with it.
func (s *Service) rhythm() cadence.Phase { return cadence.PhaseOf(s.settings.Weatherlight.Consumer()) }
