package kasmina

import "github.com/esper-lite/weatherlight/leyline"

// States are a run's seeds in the order of germination. The caller owns the
// result.
func States(r *Record) []*leyline.SeedState {
	if r == nil {
		return nil
	}
	states := make([]*leyline.SeedState, 0, len(r.Seeds))
	for _, s := range r.Seeds {
		states = append(states, s.state())
	}
	return states
}

func (s *seed) state() *leyline.SeedState {
	metrics := map[string]float32{
		"alpha":             float32(s.share()),
		"alpha_steps":       float32(s.AlphaSteps),
		"alpha_total_steps": float32(s.Schedule.Steps),
		"alpha_temperature": float32(s.Schedule.Temperature),
		"blend_allowed":     flag(blends(s.Stage)),
		"residence_epochs":  float32(s.Progress.Residence),
		"earned":            flag(s.Earned),
		"paused":            flag(s.Paused != 0),
	}
	last := *s.Progress.last()
	for _, f := range last.fields() {
		if f.at.known() {
			metrics[f.name] = float32(f.at.value())
		}
	}
	return &leyline.SeedState{
		SeedId: s.ID, Stage: s.Stage, AgeEpochs: s.Age, Metrics: metrics,
		GradientNorm: metrics["gradient_norm"],
	}
}

// BlendingSeeds are the seeds in BLENDING by blueprint, each list in the order
// of germination. The caller owns the result.
func BlendingSeeds(r *Record) map[string][]string {
	blending := make(map[string][]string)
	if r == nil {
		return blending
	}
	for _, s := range r.Seeds {
		if s.Stage == stageBlending {
			blending[s.Blueprint] = append(blending[s.Blueprint], s.ID)
		}
	}
	return blending
}
