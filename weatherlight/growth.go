package weatherlight

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
)

const (
	// runTTL is how long a run that nobody reports for is remembered.
	runTTL = 30 * 24 * time.Hour
	// publishGrace is how long another instance may take to publish what it decided
	// on a run. One that died meanwhile costs the run that much.
	publishGrace = 500 * time.Millisecond
)

// startGrowth sets up what decides on runs, with the log of the field reports that it
// brings, and starts what feeds it the answers to its kernel requests and what comes due.
func (s *Service) startGrowth(ctx context.Context) error {
	if err := s.openReports(ctx); err != nil {
		return err
	}
	core := kasmina.NewCore(s.coreConfig())
	controller := tamiyo.NewController(s.controllerConfig())
	records := s.bus.Records(trainer.Stream)
	s.runs = control.New(control.Config{
		Core: core, Controller: controller, Records: records, Awaits: records,
		Keyring: s.keyring, Now: s.bus.Now, Rhythm: s.rhythm(),
		Publish: s.bus.Publish, Route: s.telemetryMessage, Offer: s.telemetry.Offer,
		KeepReport: s.reports.Keep,
		Candidates: s.candidates, Permit: s.permitBlueprint, Heard: s.warnLocalOnly(),
		PrefetchTimeout: s.settings.Kasmina.PrefetchTimeout,
		TTL:             runTTL, Grace: publishGrace, Logger: s.logger.With("part", "kasmina"),
	})
	s.emergency = s.newEmergencyWatch()
	if err := s.startWorkers(s.growthWorkers)(ctx); err != nil {
		return errors.Join(err, s.reports.Close())
	}
	return nil
}

func (s *Service) stopGrowth(ctx context.Context) error {
	return errors.Join(s.stopWorkers(s.growthWorkers)(ctx), s.reports.Close())
}

func (s *Service) openReports(ctx context.Context) (err error) {
	s.reports, err = fieldreport.Open(ctx, filepath.Join(s.tamiyoDir(), "field_reports.log"), fieldreport.Config{
		Publish:   s.publishReport,
		Retention: s.settings.Tamiyo.FieldReportRetention,
		Logger:    s.logger.With("part", "tamiyo"),
	})
	return err
}

// newEmergencyWatch tells of emergencies by the ways of this service, and lets runs act on them.
func (s *Service) newEmergencyWatch() *emergency.Watch {
	return emergency.New(emergency.Config{
		Tell: s.raiseAlarm, Relay: s.outbox.Put, Act: s.runs.Emergency, Instance: s.instance(), Logger: s.logger,
	})
}

// coreConfig is what the settings say of the life of a seed.
func (s *Service) coreConfig() kasmina.Config {
	k := s.settings.Kasmina
	return kasmina.Config{
		Keyring: s.keyring, ArtifactURL: s.advertisedURL(), AutoFossilize: k.AutoFossilize,
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
func (s *Service) controllerConfig() tamiyo.Config {
	t, k := s.settings.Tamiyo, s.settings.Kasmina
	rules := promotionRules(k).Annotations()
	return tamiyo.Config{
		PolicyVersion: func() string { return s.policies.Version() },
		Rules:         func(string) map[string]string { return rules },

		Patience: uint32(t.StallEpochs), MinDelta: t.StallGain,
		MaxGrowing: t.MaxGrowing, MaxAgeEpochs: uint32(t.MaxSeedAge), Embargo: k.Embargo,
		MinAccuracyGain: k.AccuracyGain, MinLossGain: k.MinGain,
		ProbationEpochs: uint32(k.MinProbation) + 1,
	}
}

func (s *Service) growthWorkers() []supervise.Spec {
	return []supervise.Spec{
		{Name: workerRuns, Worker: s.runs},
		s.consumer(workerSeedReady, oona.Subscription{
			Wanted: control.Answers, Key: control.RunOf, Demand: s.runs.ReadyDemand(),
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY, s.runs.Ready),
		}),
		s.consumer(workerSeedErrors, oona.Subscription{
			Wanted: control.Answers, Key: control.RunOf, Demand: s.runs.RefusalDemand(),
			Handlers: only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR, s.runs.Refusal),
		}),
	}
}

// only handles one type of message.
func only(kind leyline.BusMessageType, handler oona.Handler) map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{kind: handler}
}

// warnLocalOnly returns what warns, once, when a trainer fetches kernels by http alone,
// which is meant to run on another machine, and other machines cannot follow the URLs.
func (s *Service) warnLocalOnly() func(trainer.Report) {
	warn := sync.OnceFunc(func() {
		if url := s.advertisedURL(); httpapi.LocalOnly(url) {
			s.logger.Warn("a trainer fetches kernels by http, and only this machine reaches where they are: set WEATHERLIGHT_ADVERTISE_URL",
				"url", url)
		}
	})
	return func(report trainer.Report) {
		access := report.KernelAccess
		if slices.Contains(access, graft.AccessHTTP) && !slices.Contains(access, graft.AccessPath) {
			warn()
		}
	}
}

// advertisedURL is where trainers reach the kernels, or empty when they are served
// nowhere.
func (s *Service) advertisedURL() string {
	var address net.Addr
	if s.http != nil {
		address = s.http.Addr()
	}
	return httpapi.Advertised(s.settings.Weatherlight.AdvertiseURL.Reveal(), address)
}
