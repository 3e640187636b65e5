package weatherlight

import (
	"github.com/esper-lite/weatherlight/oona"
)

// rhythm is that of the bus client, so that the loops of this process fall
// together with it.
func (s *Service) rhythm() oona.Rhythm { return oona.RhythmOf(s.settings.Weatherlight.Consumer()) }
