package chaos_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

// What makes a run of the test binary a consumer process.
const (
	consumerURL   = "CHAOS_CONSUMER_URL"
	consumerName  = "CHAOS_CONSUMER_NAME"
	consumerKeyed = "CHAOS_CONSUMER_KEYED" // not blank: one blueprint's requests are handled in order
)

// unbounded keeps the length of a stream from being a reason of loss: bounds have
// tests of their own.
const unbounded = 1 << 20

func consumerConfig(url, name string) oona.Config {
	return oona.Config{
		URL: url, Group: group, Consumer: name, FreshnessWindow: time.Hour, MaxStreamLength: unbounded,
		RetryBackoff: 10 * time.Millisecond, ClaimIdle: 2 * time.Second,
	}
}

// consumerMain answers kernel requests until it is killed, or its parent is gone.
func consumerMain(url, name string, keyed bool) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does
		stop()
	}()
	for ctx.Err() == nil {
		if err := consume(ctx, url, name, keyed); err != nil {
			fmt.Fprintln(os.Stderr, name, err) // Redis may be away while a process starts
			pause(ctx, 50*time.Millisecond)
		}
	}
	return 0
}

func consume(ctx context.Context, url, name string, keyed bool) error {
	cfg := consumerConfig(url, name)
	ring, err := signing.NewKeyring(secret)
	if err != nil {
		return err
	}
	cfg.Keyring = ring
	client, err := oona.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	sub := oona.Subscription{
		Stream:   streams.KernelRequests,
		OnReady:  func() { fmt.Println("ready") },
		Handlers: map[leyline.BusMessageType]oona.Handler{requestKind: answer},
	}
	if keyed {
		sub.Key = func(d *oona.Delivery) string {
			r, _ := d.Payload.(*leyline.KernelPrefetchRequest)
			return r.GetBlueprintId()
		}
	}
	return client.Consume(ctx, context.WithoutCancel(ctx), sub)
}

var errFlaky = errors.New("this one fails at first")

// answer takes a moment, and fails for one message in a hundred at first.
func answer(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	r, _ := d.Payload.(*leyline.KernelPrefetchRequest)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(r.GetRequestId()))
	if hash.Sum32()%100 == 0 && d.Attempt == 1 {
		return nil, errFlaky
	}
	pause(ctx, time.Duration(hash.Sum32()%500)*time.Microsecond)
	return []oona.Message{{Payload: &leyline.KernelArtifactReady{RequestId: r.GetRequestId(), BlueprintId: r.GetBlueprintId()}}}, nil
}

// process is one consumer process; it is started again after each kill.
type process struct {
	t         testing.TB
	url, name string
	keyed     bool
	cmd       *exec.Cmd
	stdin     io.Closer
	ready     <-chan struct{} // closed once it consumes, or has ended
}

func startConsumer(t testing.TB, url, name string, keyed bool) *process {
	p := &process{t: t, url: url, name: name, keyed: keyed}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), consumerURL+"="+p.url, consumerName+"="+p.name)
	if p.keyed {
		p.cmd.Env = append(p.cmd.Env, consumerKeyed+"=yes")
	}
	p.cmd.Stderr = io.Discard
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ready := make(chan struct{})
	p.stdin, p.ready = stdin, ready
	go func() {
		defer close(ready)
		_, _ = bufio.NewReader(stdout).ReadString('\n') // the one line it prints
	}()
}

// kill ends the process between any two instructions.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		p.t.Errorf("kill %s: %v", p.name, err)
	}
	p.wait()
}

// stop lets the process finish what it has in hand.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.stdin.Close()
	p.wait()
	p.cmd = nil
}

func (p *process) wait() {
	<-p.ready
	_ = p.cmd.Wait() // its exit status is the kill
	_ = p.stdin.Close()
}
