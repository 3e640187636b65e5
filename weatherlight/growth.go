package weatherlight

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/evidence"
	"github.com/esper-lite/weatherlight/weatherlight/internal/policies"
)

const (
	// runTTL is how long a run that nobody reports for is remembered.
	runTTL = 30 * 24 * time.Hour
	// publishGrace is how long another instance may take to publish what it decided
	// on a run. One that died meanwhile costs the run that much.
	publishGrace = 500 * time.Millisecond
)

// growth is what decides on runs.
type growth struct {
	crew

	reports   *fieldreport.Log
	runs      *control.Room
	emergency *emergency.Watch
}

// openGrowth sets up what decides on runs, with the log of the field reports that it
// brings, what feeds it the answers to its kernel requests, and what comes due.
func (s *Service) openGrowth(ctx context.Context) (*growth, error) {
	reports, err := fieldreport.Open(ctx, s.settings.Tamiyo.ReportFile(), fieldreport.Config{
		Publish:   s.durable.PublishFieldReport,
		Retention: s.settings.Tamiyo.FieldReportRetention,
		Logger:    s.logger.With("part", "tamiyo"),
	})
	if err != nil {
		return nil, err
	}
	records := s.bus.Records(trainer.Stream)
	runs := control.New(control.Config{
		Core:       kasmina.NewCore(coreConfig(s.settings.Kasmina, s.keyring, s.advertisedURL())),
		Controller: tamiyo.NewController(s.deciding(controllerConfig(s.settings))),
		Records:    records, Awaits: records,
		Keyring: s.keyring, Now: s.bus.Now, Rhythm: s.rhythm(),
		Publish: s.bus.Publish, Route: s.route, Offer: s.telemetry.Offer,
		KeepReport: evidence.KeepReports(reports, s.library.Evidence(), s.logger),
		Blueprints: tamiyo.Blueprints{
			Candidates: s.selection.Candidates, Prepare: s.selection.Prepare,
			Blueprint: s.selection.Blueprint, Permit: s.selection.Permit,
			StepTimeout: s.settings.Tamiyo.StepTimeout,
		},
		OnReport:        s.warnLocalOnly(),
		PrefetchTimeout: s.settings.Kasmina.PrefetchTimeout,
		TTL:             runTTL, Grace: publishGrace, Logger: s.logger.With("part", "kasmina"),
	})
	// Emergencies are told of by the ways of this service, and runs act on them.
	watch := emergency.New(emergency.Config{
		Report: s.telemetry.Raise, Relay: s.outbox.Put, Act: runs.Emergency, Instance: s.instance(), Logger: s.logger,
	})
	return &growth{reports: reports, runs: runs, emergency: watch, crew: s.newCrew(
		supervise.Spec{Name: workerRuns, Worker: runs},
		s.consumer(workerSeedReady, oona.Subscription{
			Wanted: control.Answers, Key: control.RunOf, Demand: runs.ReadyDemand(),
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY, runs.Ready),
		}),
		s.consumer(workerSeedErrors, oona.Subscription{
			Wanted: control.Answers, Key: control.RunOf, Demand: runs.RefusalDemand(),
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR, runs.Refusal),
		}),
	)}, nil
}

// deciding has the controller ask the policies that are in force when it decides.
func (s *Service) deciding(config tamiyo.Config) tamiyo.Config {
	config.Policies = func() (active, shadow tamiyo.Policy) {
		if s.controller == nil { // the boot has not come so far
			return nil, nil
		}
		return policies.InForce(s.policies)
	}
	return config
}

func (g *growth) close(context.Context) error { return g.reports.Close() }

// coreConfig is what the settings say of the life of a seed.
func coreConfig(k settings.Kasmina, keyring *signing.Keyring, artifactURL string) kasmina.Config {
	return kasmina.Config{
		Keyring: keyring, ArtifactURL: artifactURL, AutoFossilize: k.AutoFossilize,
		Promotion: promotionRules(k),
		Schedule: trainer.Schedule{
			Shape: trainer.Shape(k.AlphaSchedule), Steps: k.AlphaSteps, Temperature: k.AlphaTemperature,
			WarmUp: k.AlphaWarmUpSteps, Hold: k.AlphaHoldSteps,
		},
		Embargo: k.Embargo, Takeover: k.Takeover, PrefetchTimeout: k.PrefetchTimeout,
		MaxGradientNorm: k.MaxGradientNorm, MaxGradientCosine: k.MaxGradientCosine,
		LatencyBudgetMS: float64(k.LatencyBudget) / float64(time.Millisecond),
	}
}

// promotionRules are what a seed must show to move on.
func promotionRules(k settings.Kasmina) promotion.Rules {
	return promotion.Rules{
		MinTraining: k.MinTraining, TrainEpochs: k.TrainEpochs,
		Plateau: k.Plateau, PlateauGain: k.PlateauGain, MaxBlending: k.MaxBlending,
		MinShadowing: k.MinShadowing, MaxShadowing: k.MaxShadowing,
		MinProbation: k.MinProbation, MaxProbation: k.MaxProbation,
		MinGain: k.MinGain, AccuracyGain: k.AccuracyGain, MaxRegression: k.MaxRegression, Sigma: k.Sigma,
	}
}

// controllerConfig asks of a seed what Kasmina asks. Kasmina counts a probation from
// the report after the promotion, so the controller asks to keep a seed one later.
func controllerConfig(set *settings.Settings) tamiyo.Config {
	t, k := set.Tamiyo, set.Kasmina
	rules := promotionRules(k).Annotations()
	return tamiyo.Config{
		Rules: func(string) map[string]string { return rules },

		ObservationWindow: uint32(t.ObservationEpochs),
		Patience:          uint32(t.StallEpochs), MinDelta: t.StallGain, Conservative: t.ConservativeMode,
		MaxGrowing: t.MaxGrowing, MaxAgeEpochs: uint32(t.MaxSeedAge), Embargo: k.Embargo,
		MinAccuracyGain: k.AccuracyGain, MinLossGain: k.MinGain,
		ProbationEpochs: uint32(k.MinProbation) + 1,
	}
}
