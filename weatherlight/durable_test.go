package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// An alarm that is raised while the bus is down is delivered when it is back,
// also by the next life of the service.
func TestAlarmRaisedDuringAnOutageIsDelivered(t *testing.T) {
	server := redistest.Start(t, redistest.AOF()...)
	environ := map[string]string{"REDIS_URL": server.URL, "WEATHERLIGHT_SHUTDOWN_TIMEOUT": "2s", "WEATHERLIGHT_DATA_DIR": t.TempDir()}
	r := start(t, newService(t, environ))
	server.Kill()
	packet := emergency.RollbackPacket(shmsignal.Trigger{Count: 1})
	if !r.telemetry.Raise(packet) {
		t.Fatal("the alarm found no room")
	}
	_ = r.stop(t) // It cannot say goodbye to a bus that is down.
	server.Restart()
	next := start(t, newService(t, environ))
	nissa := connect(t, server.URL, "nissa")
	heard := listen(t, nissa, "oona.emergency", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	delivered := func() (n int) {
		for _, got := range heard.packets() {
			if got.GetPacketId() == packet.GetPacketId() {
				n++
			}
		}
		return n
	}
	eventually(t, "the alarm is delivered", func() bool { return delivered() == 1 })
	if err := next.stop(t); err != nil {
		t.Error(err)
	}
	if n := delivered(); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// What the forge has announced is not announced again: it must not be lost.
func TestKernelAnnouncedDuringAnOutageIsAnnouncedOnceAndInOrder(t *testing.T) {
	server := redistest.Start(t, redistest.AOF()...)
	environ := map[string]string{"REDIS_URL": server.URL, "WEATHERLIGHT_SHUTDOWN_TIMEOUT": "2s", "WEATHERLIGHT_DATA_DIR": t.TempDir()}
	r := start(t, newService(t, environ))
	server.Kill()
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = fmt.Sprintf("p%04d", i)
	}
	for _, id := range append(slices.Clone(ids), ids[0]) { // one of them twice
		if err := r.durable.AnnounceKernel(t.Context(), &leyline.KernelCatalogUpdate{BlueprintId: id, Checksum: "c"}); err != nil {
			t.Fatal(err)
		}
	}
	_ = r.stop(t) // It cannot say goodbye to a bus that is down.
	server.Restart()
	next := start(t, newService(t, environ))
	heard := listen(t, connect(t, server.URL, "nissa"), "oona.kernels.ready", "nissa",
		leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE)
	eventually(t, "all are announced", func() bool { return len(heard.deliveries()) >= len(ids) })
	if err := next.stop(t); err != nil {
		t.Error(err)
	}
	var got []string
	for _, delivery := range heard.deliveries() {
		got = append(got, delivery.Payload.(*leyline.KernelCatalogUpdate).GetBlueprintId())
	}
	if !slices.Equal(got, ids) {
		t.Errorf("announced %v, want %v", got, ids)
	}
}

// A field report is decided on once: what was kept of it must come to the bus, and
// what was cut off between outbox and log is kept again, by its record.
func TestFieldReportsOfAnOutageAndAKillAreDeliveredOnce(t *testing.T) {
	server := redistest.Start(t, redistest.AOF()...)
	environ := map[string]string{
		"REDIS_URL": server.URL, "WEATHERLIGHT_SHUTDOWN_TIMEOUT": "2s", "WEATHERLIGHT_DATA_DIR": t.TempDir(), "TAMIYO_POLICY_DIR": t.TempDir(),
	}
	r := start(t, newService(t, environ))
	server.Kill()
	kept, cutOff := &leyline.FieldReport{ReportId: "kept"}, &leyline.FieldReport{ReportId: "cut off"}
	if err := r.reports.Keep(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if err := r.durable.PublishFieldReport(t.Context(), cutOff); err != nil { // what Keep does first
		t.Fatal(err)
	}
	_ = r.stop(t) // It cannot say goodbye to a bus that is down.
	server.Restart()
	next := start(t, newService(t, environ))
	heard := listen(t, connect(t, server.URL, "nissa"), "oona.normal", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT)
	eventually(t, "both are delivered", func() bool { return len(heard.deliveries()) == 2 })
	for _, again := range []*leyline.FieldReport{kept, cutOff} {
		if err := next.reports.Keep(t.Context(), again); err != nil {
			t.Error(err)
		}
	}
	if err := next.stop(t); err != nil { // waits for the outbox
		t.Error(err)
	}
	if found, err := next.reports.All(); len(found) != 2 || err != nil {
		t.Errorf("%d reports in the log, want 2: %v", len(found), err)
	}
	after := connect(t, server.URL, "nissa")
	if err := after.Publish(t.Context(), oona.Message{Payload: &leyline.FieldReport{ReportId: "after them"}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	eventually(t, "what came after them", func() bool {
		got = got[:0]
		for _, report := range heardOf[*leyline.FieldReport](heard) {
			got = append(got, report.GetReportId())
		}
		return slices.Contains(got, "after them")
	})
	if want := []string{"kept", "cut off", "after them"}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

func TestStopPublishesWhatTheOutboxHolds(t *testing.T) {
	server := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": server.URL}))
	nissa := connect(t, server.URL, "nissa")
	const reports = 200
	for i := range reports {
		report := &leyline.FieldReport{ReportId: time.Duration(i).String()}
		if err := r.durable.PublishFieldReport(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	heard := listen(t, nissa, "oona.normal", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT)
	eventually(t, "all reports are on the bus", func() bool { return len(heard.deliveries()) == reports })
}

// What is put when the workers have stopped already, and takes the bus a while, is
// waited for.
func TestStopWaitsForTheOutbox(t *testing.T) {
	server := redistest.Start(t)
	proxy, err := faultproxy.Start(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	service := newService(t, map[string]string{"REDIS_URL": "redis://" + proxy.Addr() + "/0"})
	const reports = 12 // each a round trip or more
	steps := service.steps()
	library := slices.IndexFunc(steps, func(step supervise.Step) bool { return step.Name == bootList[3] })
	steps[library].Stop = func(ctx context.Context) error {
		proxy.Set(faultproxy.Fault{Delay: 20 * time.Millisecond})
		var messages []oona.Message
		for i := range reports {
			messages = append(messages, oona.Message{Payload: &leyline.FieldReport{ReportId: strconv.Itoa(i)}})
		}
		return errors.Join(service.kernels.close(ctx), service.outbox.Put(ctx, messages...))
	}
	booted, err := supervise.Boot(t.Context(), steps, service.traceStep)
	if err != nil {
		t.Fatal(err)
	}
	if err := booted.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	nissa := connect(t, server.URL, "nissa")
	last := listen(t, nissa, "oona.normal", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT)
	eventually(t, "all reports are on the bus", func() bool { return len(last.deliveries()) == reports })
}

// Who sent a policy update hears what became of it, though the bus was down when
// that was known.
func TestPolicyAcknowledgementSurvivesAnOutage(t *testing.T) {
	server := redistest.Start(t, redistest.AOF()...)
	environ := map[string]string{"REDIS_URL": server.URL, "WEATHERLIGHT_SHUTDOWN_TIMEOUT": "2s", "WEATHERLIGHT_DATA_DIR": t.TempDir()}
	r := start(t, newService(t, environ))
	server.Kill()
	update := &leyline.PolicyUpdate{PolicyId: "p", TamiyoPolicyVersion: "v2"}
	if err := r.policies.Accept(t.Context(), update, nil); err != nil {
		t.Fatal(err)
	}
	_ = r.stop(t) // It cannot say goodbye to a bus that is down.
	server.Restart()
	next := start(t, newService(t, environ))
	defer func() { _ = next.stop(t) }()
	nissa := connect(t, server.URL, "nissa")
	heard := listen(t, nissa, "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	eventually(t, "the update is acknowledged", func() bool {
		for _, packet := range heard.packets() {
			for _, event := range packet.GetEvents() {
				if event.GetDescription() == "policy_update_announced" && event.GetAttributes()["policy_id"] == "p" {
					return true
				}
			}
		}
		return false
	})
}
