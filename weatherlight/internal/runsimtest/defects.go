package runsimtest

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
)

// Defects are built into a scenario on purpose, to see that the auditor finds
// them. The zero value has none.
type Defects struct {
	BlindWrites    bool // the store does not look at versions
	ForgetsPending bool // the store does not keep pending outputs
	NoIndex        bool // nothing is ever due
	SkipsRecovery  bool // what is left in a record is published by nobody

	ReusesNumbers bool // two orders have one number
	ForgesKernels bool // attach orders name a checksum that nobody announced
	SkipsStages   bool // seeds are held where they should begin to blend
	Mute          bool // telemetry is not kept with the record

	DeafToLeaks  bool // nobody hears of gradients that reach the host
	BlamesKernel bool // every failed attach is taken for the kernel's fault
	LosesCulls   bool // a CULL is acknowledged and not acted on
	Meddles      bool // trainers that only report are taken for others
	Rewrites     bool // a field report that is kept again is another
	Hasty        bool // Tamiyo's commands must be carried out at once

	AppliesTwice bool // trainers do not look at the numbers of orders
	HidesKept    bool // trainers do not tell of the seeds that they keep
}

// tamper spoils a write as the defects say.
func (t *town) tamper(write oona.RecordWrite) oona.RecordWrite {
	d := t.defects
	if d.Mute && len(write.Pending) > 0 {
		write.Pending = withoutPackets(write.Pending)
	}
	var orders []*leyline.AdaptationCommand
	for _, command := range write.Orders {
		order, err := trainer.ReadOrder(command)
		switch {
		case err != nil:
		case d.ReusesNumbers && order.Number > 1 && order.Number%2 == 0:
			command = t.reissued(command, func(c *leyline.AdaptationCommand) {
				c.Annotations["order"] = strconv.FormatUint(order.Number-1, 10)
			})
		case d.ForgesKernels && order.Kind == trainer.Attach:
			command = t.reissued(command, func(c *leyline.AdaptationCommand) { c.Annotations["checksum"] = digest("forged") })
		case d.SkipsStages && order.Kind == trainer.BlendIn:
			command = t.reissued(command, func(c *leyline.AdaptationCommand) {
				c.GetSeedOperation().Operation = leyline.SeedOperation_SEED_OP_STABILIZE
			})
		}
		orders = append(orders, command)
	}
	write.Orders = orders
	return write
}

// reissued is a signed command with a change.
func (t *town) reissued(command *leyline.AdaptationCommand, change func(*leyline.AdaptationCommand)) *leyline.AdaptationCommand {
	changed := proto.Clone(command).(*leyline.AdaptationCommand)
	delete(changed.Annotations, "signature")
	change(changed)
	if err := t.keyring.SignCommand(changed); err != nil {
		t.audit.violate("a defect cannot be built in: %v", err)
	}
	return changed
}

func withoutPackets(pending []byte) []byte {
	var outputs []output
	if json.Unmarshal(pending, &outputs) != nil {
		return pending
	}
	packet := string(proto.MessageName(new(leyline.TelemetryPacket)))
	outputs = slices.DeleteFunc(outputs, func(o output) bool { return o.Type == packet })
	if len(outputs) == 0 {
		return nil
	}
	text, err := json.Marshal(outputs)
	if err != nil {
		return pending
	}
	return text
}

// mishear spoils a delivery as the defects say; false when it is not heard at all.
func (t *town) mishear(d *oona.Delivery) bool {
	switch m := d.Payload.(type) {
	case *leyline.AdaptationCommand:
		return !t.defects.LosesCulls || m.GetSeedOperation().GetOperation() != leyline.SeedOperation_SEED_OP_CULL
	case *leyline.SystemStatePacket:
		for _, state := range m.GetSeedStates() {
			if t.defects.DeafToLeaks {
				state.Metrics[trainer.MetricHostGradientMax] = 0
			}
			if t.defects.BlamesKernel && state.Metrics[trainer.MetricAttachFailed] != 0 {
				state.Metrics[trainer.MetricAttachReason] = float32(trainer.AttachInvalid)
			}
		}
		if t.defects.Meddles && len(d.Attributes) == 0 {
			d.Attributes = trainer.Report{
				TrainerID: "nobody", Number: uint64(m.GetCurrentEpoch()), HostLayers: []string{"layer"},
				Slots: map[string][]int{"layer": {4}}, KernelAccess: []string{"path"},
			}.Attributes()
		}
	}
	return true
}

// retold is a field report as it is kept.
func (t *town) retold(report *leyline.FieldReport) *leyline.FieldReport {
	if !t.defects.Rewrites {
		return report
	}
	changed := proto.Clone(report).(*leyline.FieldReport)
	changed.IssuedAt = timestamppb.New(t.now.Truncate(time.Microsecond))
	return changed
}
