package tamiyo

import "github.com/esper-lite/weatherlight/telemetry"

// The labels of what is told of a run.
const (
	ofRun = "training_run_id"
)

// PacketSeries are the points of packets about runs, by the names that they have where
// packets are shown.
func PacketSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "tamiyo_validation_loss", Labels: ofRun, Kind: telemetry.Gauge, Unit: "loss",
			Meaning: "Validation loss that the controller was told of; 0 without a validation."},
		{Name: "tamiyo_loss_delta", Labels: ofRun, Kind: telemetry.Gauge, Unit: "loss",
			Meaning: "Its change since the validation before; negative is better."},
		{Name: "tamiyo_stalled_epochs", Labels: ofRun, Kind: telemetry.Gauge, Unit: "epoch",
			Meaning: "Epochs since the loss was last better than ever."},
		{Name: "tamiyo_evaluated_epoch", Labels: ofRun, Kind: telemetry.Gauge, Unit: "epoch",
			Meaning: "Epoch that the controller judged last."},
		{Name: "tamiyo_conservative_mode", Labels: ofRun, Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while the controller starts no growth, after something went wrong."},
		{Name: "tamiyo_inference_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of the controller's last decision."},
		{Name: "tamiyo_blueprint_risk", Labels: ofRun, Kind: telemetry.Gauge, Unit: "score",
			Meaning: "Risk, 0 to 1, of the blueprint that the decision germinates. Absent when it germinates none."},
	}
}
