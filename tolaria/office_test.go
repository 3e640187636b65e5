package tolaria_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/trainer"
)

// office is a bus with the service behind it in one process: the core, the
// controller and a library of the real kernels. Its clock goes one second a
// report.
type office struct {
	t          *testing.T
	keyring    *signing.Keyring
	core       *kasmina.Core
	controller *tamiyo.Controller
	compiler   *tezzeret.Compiler
	folder     string
	offered    []tamiyo.Candidate

	mu      sync.Mutex
	now     time.Time
	seeds   *kasmina.Record
	control *tamiyo.Record
	orders  []*leyline.AdaptationCommand
	last    uint64 // number of the last order
	handled uint64 // number of the last report
	moved   chan struct{}
	packets []*leyline.SystemStatePacket
	absent  bool // nobody answers any more
}

// newOffice has the blueprints of these ids to choose from, all of them when
// none is named.
func newOffice(t *testing.T, slot []int, ids ...string) *office {
	t.Helper()
	keyring, err := signing.NewKeyring("the secret of the office")
	if err != nil {
		t.Fatal(err)
	}
	shape, err := tezzeret.NewSlot(slot...)
	if err != nil {
		t.Fatal(err)
	}
	o := &office{
		t: t, keyring: keyring, core: kasmina.NewCore(kasmina.Config{Keyring: keyring}),
		controller: tamiyo.NewController(tamiyo.Config{Patience: 4, ProbationEpochs: 3}),
		compiler:   tezzeret.NewCompiler(tezzeret.Config{Slot: shape}), folder: t.TempDir(),
		now: time.Unix(1_800_000_000, 0), moved: make(chan struct{}),
	}
	catalog := karn.NewCatalog()
	if len(ids) == 0 {
		for _, blueprint := range catalog.List() {
			ids = append(ids, blueprint.GetBlueprintId())
		}
	}
	for _, id := range ids {
		blueprint, err := catalog.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if compiled, err := o.compiler.CompileConservative(t.Context(), blueprint, nil); err == nil {
			// Without its risk, so that the controller takes any: what is asked is how the trainer does.
			o.offered = append(o.offered, tamiyo.Candidate{
				BlueprintID: id, Tier: blueprint.GetTier(),
				ParameterCount: compiled.ParameterCount, ApprovalRequired: blueprint.GetApprovalRequired(),
				QuarantineOnly: blueprint.GetQuarantineOnly(),
			})
		}
	}
	return o
}

// config is a trainer's that reports to this office and waits for its answers.
func (o *office) config() tolaria.Config {
	return tolaria.Config{
		Graft: graft.Config{Bus: o, Keyring: o.keyring, KernelAccess: []string{"path"}},
		Settle: func(ctx context.Context, report uint64, g *graft.Graft) error {
			last, err := o.answered(ctx, report)
			if err != nil {
				return err
			}
			return g.Await(ctx, last)
		},
	}
}

func (o *office) PublishReport(ctx context.Context, packet *leyline.SystemStatePacket, attributes map[string]string) error {
	report, err := trainer.ReadReport(attributes)
	if err != nil {
		o.t.Errorf("a report that cannot be read: %v", err)
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.packets = append(o.packets, packet)
	o.now = o.now.Add(time.Second)
	if !o.absent {
		o.handle(ctx, packet, report)
	}
	o.handled = report.Number
	o.wake()
	return nil
}

func (o *office) handle(ctx context.Context, packet *leyline.SystemStatePacket, report trainer.Report) {
	o.decide(ctx, kasmina.Report{Packet: packet, Report: report, Protocol: true, Issued: o.now, Stored: o.now})
	decision := o.controller.Decide(o.control, tamiyo.State{
		Packet: packet, Grows: true, TrainerID: report.TrainerID, Number: report.Number,
		HostLayers: report.HostLayers, Slots: report.Slots, Grafts: report.Grafts,
	}, o.now, func([]int) ([]tamiyo.Candidate, error) { return o.offered, nil })
	if decision.Record != nil {
		o.control = decision.Record
	}
	for _, command := range decision.Commands {
		if err := o.keyring.SignCommand(command); err != nil {
			o.t.Error(err)
		}
		if refused := o.core.Verify(o.seeds, command, o.now); refused != nil {
			o.t.Errorf("command refused: %v", refused)
			continue
		}
		o.decide(ctx, kasmina.Command{Command: command})
	}
}

func (o *office) decide(ctx context.Context, message kasmina.Message) {
	decision := o.core.Decide(o.seeds, message, o.now)
	if decision.Rejected != nil {
		o.t.Logf("rejected: %v", decision.Rejected)
	}
	if decision.Record != nil {
		o.seeds = decision.Record
	}
	for _, order := range decision.Orders {
		command := order.Command()
		command.CommandId = fmt.Sprintf("order-%d", order.Number)
		command.IssuedAt = timestamppb.New(o.now)
		if err := o.keyring.SignCommand(command); err != nil {
			o.t.Error(err)
		}
		o.orders, o.last = append(o.orders, command), max(o.last, order.Number)
	}
	for _, wanted := range decision.Requests {
		o.decide(ctx, kasmina.Ready{
			Ready: o.forge(ctx, wanted.Request), Attributes: map[string]string{trainer.AttributeFormat: trainer.FormatONNX},
		})
	}
}

// forge makes a kernel and announces it.
func (o *office) forge(ctx context.Context, request *leyline.KernelPrefetchRequest) *leyline.KernelArtifactReady {
	blueprint, err := karn.NewCatalog().Get(request.GetBlueprintId())
	if err != nil {
		o.t.Error(err)
		return nil
	}
	compiled, err := o.compiler.CompileConservative(ctx, blueprint, nil)
	if err != nil {
		o.t.Error(err)
		return nil
	}
	path := filepath.Join(o.folder, compiled.Checksum+".onnx")
	if err := os.WriteFile(path, compiled.Artifact, 0o600); err != nil {
		o.t.Error(err)
	}
	return &leyline.KernelArtifactReady{
		RequestId: request.GetRequestId(), BlueprintId: request.GetBlueprintId(), ArtifactRef: path,
		Checksum: compiled.Checksum, GuardDigest: compiled.GuardDigest, PrewarmP50Ms: 1, PrewarmP95Ms: 1,
	}
}

func (o *office) FollowOrders(ctx context.Context, stream string, take func(*leyline.AdaptationCommand)) error {
	read := 0
	for {
		o.mu.Lock()
		fresh, moved := o.orders[read:], o.moved
		o.mu.Unlock()
		for _, command := range fresh {
			if want := trainer.Stream(command.GetAnnotations()[trainer.AnnotationRun]); want == stream {
				take(command)
			}
		}
		if read += len(fresh); len(fresh) > 0 {
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answered waits until a report was handled; it returns the number of the last
// order.
func (o *office) answered(ctx context.Context, report uint64) (uint64, error) {
	for {
		o.mu.Lock()
		handled, last, moved := o.handled, o.last, o.moved
		o.mu.Unlock()
		if handled >= report {
			return last, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// wake tells whoever waits that something happened. The caller holds the lock.
func (o *office) wake() {
	close(o.moved)
	o.moved = make(chan struct{})
}

// leave has the service answer nothing any more.
func (o *office) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.absent = true
}

// alarm raises an emergency for the run.
func (o *office) alarm(ctx context.Context, emergency kasmina.Emergency) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.decide(ctx, emergency)
	o.wake()
}

// order adds an order of nobody's decision behind the others.
func (o *office) order(order trainer.Order) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last++
	order.Number = o.last
	command := order.Command()
	if err := o.keyring.SignCommand(command); err != nil {
		o.t.Error(err)
	}
	o.orders = append(o.orders, command)
	o.wake()
}
