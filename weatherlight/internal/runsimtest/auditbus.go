package runsimtest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

// name is what an output is known by when it is published.
func (o output) name() (string, error) {
	for _, payload := range []proto.Message{
		new(leyline.TelemetryPacket), new(leyline.AdaptationCommand), new(leyline.KernelPrefetchRequest), new(leyline.FieldReport),
	} {
		if string(proto.MessageName(payload)) != o.Type {
			continue
		}
		if _, packet := payload.(*leyline.TelemetryPacket); packet && o.Once == "" {
			return "", errors.New("a packet has no name")
		}
		err := proto.Unmarshal(o.Payload, payload)
		return nameOf(payload, o.Once), err
	}
	return "", fmt.Errorf("type %s", o.Type)
}

func nameOf(payload proto.Message, once string) string {
	switch m := payload.(type) {
	case *leyline.TelemetryPacket:
		return "packet " + once
	case *leyline.AdaptationCommand:
		return "command " + m.GetCommandId()
	case *leyline.KernelPrefetchRequest:
		return "request " + m.GetRequestId()
	case *leyline.FieldReport:
		return "report " + m.GetReportId()
	default:
		return fmt.Sprintf("%T", payload)
	}
}

// published sees what an instance put on the bus.
func (a *auditor) published(message oona.Message) {
	a.paid(nameOf(message.Payload, message.Once))
	run := ""
	switch m := message.Payload.(type) {
	case *leyline.TelemetryPacket:
		a.town.counts.Packets++
		a.hear(m)
		if !a.packets[message.Once] {
			a.packets[message.Once] = true
			a.heard(m)
		}
	case *leyline.KernelPrefetchRequest:
		run = m.GetTrainingRunId()
		if of, ok := kasmina.RunOfRequest(m.GetRequestId()); !ok || of != run {
			a.violate("kernel request %q of run %q names run %q", m.GetRequestId(), run, of)
		}
	case *leyline.AdaptationCommand:
		a.town.counts.Commands++
		run = kasmina.RunOfCommand(m)
		f := a.file(run)
		f.commands[m.GetCommandType()]++
		a.decided[m.GetCommandId()] = m
		if m.GetSeedOperation().GetOperation() == leyline.SeedOperation_SEED_OP_GERMINATE {
			f.germinations[m.GetTargetSeedId()] = true
		}
		if err := a.town.keyring.VerifyCommand(m); err != nil {
			a.violate("command %s leaves unsigned: %v", m.GetCommandId(), err)
		}
		a.tell("%s: tamiyo says %s %s %s", run, m.GetCommandType(), m.GetSeedOperation().GetOperation(), m.GetTargetSeedId())
	default:
		a.violate("an instance publishes %T", message.Payload)
	}
	if run != "" && !a.file(run).mayGrow() {
		a.violate("run %q only reports, and gets %s", run, nameOf(message.Payload, message.Once))
	}
}

// offered sees packets that may be lost.
func (a *auditor) offered(packet *leyline.TelemetryPacket) {
	a.town.counts.Packets++
	a.heard(packet)
	a.hear(packet)
}

// heard looks at a packet that was not published before.
func (a *auditor) heard(packet *leyline.TelemetryPacket) {
	for _, e := range packet.GetEvents() {
		switch e.GetDescription() {
		case "trainer_watched": // one event says so, once a run
			f := a.file(e.GetAttributes()["training_run_id"])
			if f.watched++; f.watched > 1+f.losses {
				a.violate("it is told %d times that the trainer of run %q only reports", f.watched, e.GetAttributes()["training_run_id"])
			}
		case "command_rejected":
			a.refused(e.GetAttributes())
		case "seed_transition_refused":
			a.violate("an illegal transition was tried: %v", e.GetAttributes())
		}
	}
}

// refused checks that no command of Tamiyo's was too old before a report of its run could tell
// what had become of it.
func (a *auditor) refused(event map[string]string) {
	late := event["reason"] == kasmina.ReasonStaleCommand || event["reason"] == kasmina.ReasonDeadlineExceeded
	command, ours := a.decided[event["command_id"]]
	if !late || !ours || event["detail"] != "" {
		return
	}
	f := a.file(kasmina.RunOfCommand(command))
	if age := a.town.now.Sub(command.GetIssuedAt().AsTime()); f.losses == 0 && f.run != nil && age < f.run.interval {
		a.violate("run %q: command %s is refused as %s after %v, and reports are %v apart",
			f.run.name, command.GetCommandId(), event["reason"], age, f.run.interval)
	}
}

// hear logs what a packet tells.
func (a *auditor) hear(packet *leyline.TelemetryPacket) {
	for _, e := range packet.GetEvents() {
		a.tell("    %s %v", e.GetDescription(), e.GetAttributes())
	}
}

// tell logs what happens.
func (a *auditor) tell(format string, args ...any) {
	if a.town.log != nil {
		a.town.log(a.town.now.Sub(epoch).String() + " " + fmt.Sprintf(format, args...))
	}
}

// verdictOf is what a field report says happened to which seed.
func verdictOf(report *leyline.FieldReport) string {
	return fmt.Sprint(report.GetTrainingRunId(), " ", report.GetSeedId(), " ", report.GetBlueprintId(), " ", report.GetOutcome())
}

// reported sees field reports as they are made durable.
func (a *auditor) reported(report *leyline.FieldReport) {
	a.paid(nameOf(report, ""))
	content, _ := proto.MarshalOptions{Deterministic: true}.Marshal(report)
	known, again := a.reports[report.GetReportId()]
	switch {
	case !again:
		a.town.counts.FieldReports++
	case known.content == string(content), known.orphan && known.verdict == verdictOf(report):
	default:
		a.violate("field report %s is another than before", report.GetReportId())
	}
	a.reports[report.GetReportId()] = fieldReport{
		run: report.GetTrainingRunId(), content: string(content), verdict: verdictOf(report),
	}
	f := a.file(report.GetTrainingRunId())
	if !f.mayGrow() {
		a.violate("field report on run %q, whose trainer only reports", report.GetTrainingRunId())
	}
	if !again {
		f.reported[report.GetSeedId()]++
		a.tell("%s: field report %s on %s: %s %s", report.GetTrainingRunId(), report.GetReportId(), report.GetSeedId(), report.GetOutcome(), report.GetNotes())
	}
}

// commanded hears of a command of the operator's.
func (a *auditor) commanded(r *run, command *leyline.AdaptationCommand) {
	for name, f := range a.files {
		if to := kasmina.RunOfCommand(command); to == "" || to == name {
			f.commands[command.GetCommandType()]++
			f.touched[command.GetTargetSeedId()] = true
			f.usurped = f.usurped || f.germinations[command.GetTargetSeedId()] &&
				command.GetSeedOperation().GetOperation() == leyline.SeedOperation_SEED_OP_GERMINATE
		}
	}
	a.tell("%s: operator says %s %s %s", r.name, command.GetCommandType(), command.GetSeedOperation().GetOperation(), command.GetTargetSeedId())
}

// raced hears of a CULL that is to overtake its GERMINATE.
func (a *auditor) raced(r *run, germinate, cull *leyline.AdaptationCommand) {
	a.file(r.name).races[cull.GetTargetSeedId()] = &race{germinate: germinate.GetCommandId(), cull: cull.GetCommandId()}
}

// handled hears that an entry was handled well.
func (a *auditor) handled(e *entry) {
	if packet, ok := e.payload.(*leyline.SystemStatePacket); ok && e.origin == "trainer" {
		a.leaks(packet)
	}
	if ready, ok := e.payload.(*leyline.KernelArtifactReady); ok {
		a.answered(ready.GetRequestId())
	}
	command, ok := e.payload.(*leyline.AdaptationCommand)
	if !ok {
		return
	}
	r := a.file(kasmina.RunOfCommand(command)).races[command.GetTargetSeedId()]
	if r != nil && r.cull == command.GetCommandId() && r.germinate != "" {
		r.culled = true
	}
	if r != nil && r.germinate == command.GetCommandId() && !r.culled {
		r.germinate = "" // it came in time
	}
}

// answered checks that nobody waits any more for a kernel whose announcement was
// handled. The form of a request's id is Kasmina's: run, seed, wait and attempt.
func (a *auditor) answered(requestID string) {
	run, ours := kasmina.RunOfRequest(requestID)
	parts := strings.Split(requestID, ".")
	if !ours || len(parts) != 4 || a.file(run).record == nil {
		return
	}
	seed, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return
	}
	for _, s := range a.file(run).record.Seeds {
		if s.ID == string(seed) && s.Wait != nil && strconv.FormatInt(s.Wait.Nonce, 36) == parts[2] {
			a.violate("run %q: seed %q still waits for the kernel whose announcement was handled", run, s.ID)
		}
	}
}

// leaks notes whose gradients reached the host.
func (a *auditor) leaks(packet *leyline.SystemStatePacket) {
	f := a.file(packet.GetTrainingRunId())
	for _, state := range packet.GetSeedStates() {
		if state.GetMetrics()[trainer.MetricHostGradientMax] != 0 {
			f.leaked[state.GetSeedId()] = true
		}
	}
}

// buried hears of a dead letter.
func (a *auditor) buried(e *entry, err error) {
	a.town.counts.Buried++
	a.tell("dead letter of %s: %v", e.origin, err)
	switch e.origin {
	case "operator", "vandal":
	default:
		a.violate("a message of %s became a dead letter: %v", e.origin, err)
	}
	if command, ok := e.payload.(*leyline.AdaptationCommand); ok && e.origin == "operator" {
		if f := a.file(kasmina.RunOfCommand(command)); f.races[command.GetTargetSeedId()] != nil {
			delete(f.races, command.GetTargetSeedId()) // refused for its age, say
		}
	}
}

// exhausted hears that an entry was given up after several errors.
func (a *auditor) exhausted(e *entry, err error) {
	if a.town.calm && a.town.now.Sub(a.quietSince) > 10*time.Second {
		a.violate("a message of %s was given up in quiet time: %v", e.origin, err)
	}
}

// tickFailed hears that a look at what is due failed.
func (a *auditor) tickFailed(err error) {
	a.tell("tick failed: %v", err)
	trouble := errors.Is(err, oona.ErrUnavailable) || errors.Is(err, runrecord.ErrContended) || a.town.diskFull || a.town.busDown
	if !trouble || a.town.calm && a.town.now.Sub(a.quietSince) > 10*time.Second {
		a.violate("looking for what is due failed: %v", err)
	}
}
