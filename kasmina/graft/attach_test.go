package graft_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// unbounded gives NaN for every example.
func unbounded(t testing.TB) []byte {
	t.Helper()
	b := kernel.NewBuilder("unbounded", features)
	b.Init("minus", kernel.FromSlice([]float32{-1}, 1))
	b.Node("Abs", []string{"host"}, "positive")
	b.Node("Mul", []string{"positive", "minus"}, "negative")
	b.Node("Sqrt", []string{"negative"}, "seed")
	return fileOf(t, b)
}

// steep is twice the square root of what is above zero of a trainable factor, which
// has no gradient where that is nothing.
func steep(t testing.TB) []byte {
	t.Helper()
	b := kernel.NewBuilder("steep", features)
	b.Init("factor", kernel.FromSlice([]float32{2}, 1))
	b.Node("Mul", []string{"host", "factor"}, "scaled")
	b.Node("Relu", []string{"scaled"}, "positive")
	b.Node("Sqrt", []string{"positive"}, "seed")
	return fileOf(t, b)
}

func TestKernelThatIsNotWhatWasAnnouncedIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		spoil  func(*world, *trainer.Order)
		reason trainer.AttachFailure
	}{
		{"no file", func(_ *world, o *trainer.Order) { o.Kernel.Ref += ".gone" }, trainer.AttachUnreachable},
		{"no way", func(_ *world, o *trainer.Order) { o.Kernel.Ref, o.Kernel.URL = "", "http://other/k" }, trainer.AttachUnreachable},
		{"a folder", func(w *world, o *trainer.Order) { o.Kernel.Ref = w.folder }, trainer.AttachUnreachable},
		{"a pipe", func(w *world, o *trainer.Order) {
			o.Kernel.Ref = filepath.Join(w.folder, "pipe")
			if err := syscall.Mkfifo(o.Kernel.Ref, 0o600); err != nil {
				w.Fatal(err)
			}
		}, trainer.AttachUnreachable},
		{"too large", func(w *world, o *trainer.Order) {
			o.Kernel = w.kernelFile(bytes.Repeat([]byte{1}, 5000))
		}, trainer.AttachUnreachable},
		{"another checksum", func(_ *world, o *trainer.Order) { o.Kernel.Checksum = strings.Repeat("0", 64) }, trainer.AttachMismatch},
		{"no kernel", func(w *world, o *trainer.Order) { o.Kernel = w.kernelFile([]byte("a pickle")) }, trainer.AttachInvalid},
		{"another width", func(w *world, o *trainer.Order) {
			o.Kernel = w.kernelFile(scaling(w, 2, features+1))
		}, trainer.AttachMisfit},
		{"another form", func(w *world, o *trainer.Order) {
			o.Kernel = w.kernelFile(scaling(w, 2, 2, features/2))
		}, trainer.AttachMisfit},
		{"not finite", func(w *world, o *trainer.Order) { o.Kernel = w.kernelFile(unbounded(w)) }, trainer.AttachFaulty},
		{"no gradient", func(w *world, o *trainer.Order) { o.Kernel = w.kernelFile(steep(w)) }, trainer.AttachFaulty},
		{"too few channel weights", func(_ *world, o *trainer.Order) {
			o.Blend = trainer.Blend{Mode: trainer.Channel, Channels: []float32{1}}
		}, trainer.AttachBlend},
		{"no such slot", func(_ *world, o *trainer.Order) { o.Slot = "elsewhere" }, trainer.AttachNoRoom},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *graft.Config) { c.MaxArtifact = 4096 })
			order := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
			tt.spoil(w, &order)
			w.wantFailure(w.send(order), tt.reason)
		})
	}
}

// wantFailure checks that an attach failed, and is told, until it was heard.
func (w *world) wantFailure(changes []graft.Change, reason trainer.AttachFailure) {
	w.Helper()
	if len(changes) != 1 {
		w.Fatalf("changes %+v, %+v", changes, w.graft.Stats())
	}
	if failed, ok := errors.AsType[*graft.AttachError](changes[0].Err); !ok || failed.Failure != reason {
		w.Fatalf("failed with %v, want reason %d", changes[0].Err, reason)
	}
	if seeds := w.graft.Seeds(); len(seeds) != 0 {
		w.Errorf("seeds %v are attached", seeds)
	}
	for range 8 {
		report := w.report(nil)
		metrics := report.seed("s").GetMetrics()
		if metrics[trainer.MetricAttachFailed] != 1 || metrics[trainer.MetricAttachReason] != float32(reason) ||
			metrics[trainer.MetricOrder] != float32(w.number) || len(report.report.Grafts) != 0 {
			w.Errorf("report %v", report.packet)
		}
	}
	if err := w.graft.Flush(w.Context()); err != nil {
		w.Error(err)
	}
	if report := w.report(nil); report.seed("s") != nil {
		w.Errorf("a failure is told for ever: %v", report.packet)
	}
}

func TestBlendThatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	order := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
	command := order.Command()
	command.Annotations["blend_mode"] = "LINEAR"
	if err := w.keyring.SignCommand(command); err != nil {
		t.Fatal(err)
	}
	w.bus.send(command)
	var changes []graft.Change
	w.eventually(func() bool {
		changes = append(changes, w.graft.Apply()...)
		return len(changes) > 0
	})
	w.wantFailure(changes, trainer.AttachBlend)
}

// The guard digest is for whoever reads the order: what tells a fit is the kernel
// itself, also where the library holds a digest of other bounds or of none of ours.
func TestGuardDigestRefusesNoKernelThatFits(t *testing.T) {
	t.Parallel()
	for name, digest := range map[string]string{
		"none":                   "",
		"of a slot of 32":        "c0e3ed3adc7800b37bf6f90a7156046c87111dcef83232afad8a9e0addde055f",
		"of a slot of [8,16,16]": "b2fd2f05c3298470835b454526892d28cae85e9c429091891d8b2429bfddf46a",
		"another program's":      "not a digest",
	} {
		w := newWorld(t, nil)
		order := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
		order.Kernel.GuardDigest = digest
		if changes := w.send(order); len(changes) != 1 || changes[0].Err != nil {
			t.Errorf("%s: changes %+v, %+v", name, changes, w.graft.Stats())
		}
	}
}

// Nor does the digest of the slot itself let a kernel in that does not fit.
func TestGuardDigestLetsNoKernelInThatDoesNotFit(t *testing.T) {
	t.Parallel()
	const ofSlot = "c0e3ed3adc7800b37bf6f90a7156046c87111dcef83232afad8a9e0addde055f"
	w := newWorld(t, nil, 32)
	order := w.attachOrder("s", scaling(t, 2, 16), trainer.Blend{})
	order.Kernel.GuardDigest = ofSlot
	w.wantFailure(w.send(order), trainer.AttachMisfit)
}

func TestSignatureOfATrustedKeyIsAskedFor(t *testing.T) {
	t.Parallel()
	public, private, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *graft.Config) { c.TrustedKeys = []string{public.String()} })
	order := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
	w.wantFailure(w.send(order), trainer.AttachUnsigned)
	content, err := os.ReadFile(order.Kernel.Ref)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key minisign.PrivateKey) {
		t.Helper()
		reader := minisign.NewReader(bytes.NewReader(content))
		if _, err := new(bytes.Buffer).ReadFrom(reader); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(order.Kernel.Ref+".minisig", reader.Sign(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sign(stranger)
	order.Number = w.order(trainer.Attach, "s").Number
	w.wantFailure(w.send(order), trainer.AttachUnsigned)
	sign(private)
	order.Number = w.order(trainer.Attach, "s").Number
	w.send(order)
	w.wantStage("s", stageTraining)
}

// store serves kernels and remembers who asked how.
type store struct {
	*httptest.Server
	tokens atomic.Value
	asked  atomic.Int64
}

func newStore(t *testing.T, handler http.HandlerFunc) *store {
	t.Helper()
	s := new(store)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.tokens.Store(r.Header.Get("Authorization"))
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestKernelComesByHTTPFromItsOriginWithTheToken(t *testing.T) {
	t.Parallel()
	content := scaling(t, 2, features)
	kernels := newStore(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	w := newWorld(t, func(c *graft.Config) {
		c.Kernels, c.KernelAccess = graft.Origin{URL: kernels.URL, Token: "token"}, []string{"http", "path"}
	})
	order := w.attachOrder("s", content, trainer.Blend{})
	order.Kernel.Ref, order.Kernel.URL = "", kernels.URL+"/kernels/"+order.Kernel.Checksum
	w.send(order)
	w.wantStage("s", stageTraining)
	if kernels.tokens.Load() != "Bearer token" {
		t.Errorf("token %v", kernels.tokens.Load())
	}
	order = w.attachOrder("again", content, trainer.Blend{})
	order.Kernel.Ref, order.Kernel.URL = "", kernels.URL+"/kernels/"+order.Kernel.Checksum
	w.send(order)
	if w.wantStage("again", stageTraining); kernels.asked.Load() != 1 {
		t.Errorf("the same kernel was fetched %d times", kernels.asked.Load())
	}
}

// TestKernelComesByHTTPSFromWhoIsTrustedAlone: the token went to whoever took the origin's place.
func TestKernelComesByHTTPSFromWhoIsTrustedAlone(t *testing.T) {
	t.Parallel()
	content := scaling(t, 2, features)
	var asked atomic.Int64
	kernels := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(content)
	}))
	kernels.Config.ErrorLog = log.New(io.Discard, "", 0)
	kernels.StartTLS()
	t.Cleanup(kernels.Close)
	own := x509.NewCertPool()
	own.AddCert(kernels.Certificate())
	for name, authorities := range map[string]*x509.CertPool{"stranger": nil, "trusted": own} {
		w := newWorld(t, func(c *graft.Config) {
			c.Kernels, c.KernelAccess = graft.Origin{URL: kernels.URL, Token: "token", Authorities: authorities}, []string{"http"}
		})
		order := w.attachOrder("s", content, trainer.Blend{})
		order.Kernel.Ref, order.Kernel.URL = "", kernels.URL+"/kernels/"+order.Kernel.Checksum
		before, changes := asked.Load(), w.send(order)
		if name == "trusted" {
			w.wantStage("s", stageTraining)
			continue
		}
		if w.wantFailure(changes, trainer.AttachUnreachable); asked.Load() != before {
			t.Error("a stranger was asked")
		}
	}
}

func TestTokenAndRequestsGoNowhereElse(t *testing.T) {
	t.Parallel()
	content := scaling(t, 2, features)
	elsewhere := newStore(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	origin := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/large":
			_, _ = w.Write(make([]byte, 5000))
		case "/slow":
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	})
	for name, url := range map[string]string{
		"another origin": elsewhere.URL + "/kernel", "a redirect": origin.URL + "/redirect",
		"too large": origin.URL + "/large", "too slow": origin.URL + "/slow", "not there": origin.URL + "/none",
		"credentials": strings.Replace(origin.URL, "http://", "http://user:word@", 1), "a file": "file:///etc/hostname",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *graft.Config) {
				c.Kernels, c.KernelAccess = graft.Origin{URL: origin.URL, Token: "token"}, []string{"http"}
				c.MaxArtifact, c.FetchTimeout = 4096, 50*time.Millisecond
			})
			order := w.attachOrder("s", content, trainer.Blend{})
			order.Kernel.URL = url
			w.wantFailure(w.send(order), trainer.AttachUnreachable)
		})
	}
	t.Cleanup(func() {
		if elsewhere.asked.Load() != 0 {
			t.Error("something was asked of another origin")
		}
	})
}

func TestSecondWayIsTakenWhenTheFirstHasOtherBytes(t *testing.T) {
	t.Parallel()
	content := scaling(t, 2, features)
	kernels := newStore(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	w := newWorld(t, func(c *graft.Config) { c.Kernels.URL = kernels.URL })
	order := w.attachOrder("s", content, trainer.Blend{})
	if err := os.WriteFile(order.Kernel.Ref, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	order.Kernel.URL = kernels.URL + "/kernels/" + order.Kernel.Checksum
	w.send(order)
	w.wantStage("s", stageTraining)
}

func TestAsManySeedsAsTheTrainerTakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *graft.Config) { c.MaxSeeds = 1 })
	w.plant("first", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	changes := w.send(w.attachOrder("second", scaling(t, 2, features), trainer.Blend{}))
	if failed, ok := errors.AsType[*graft.AttachError](changes[0].Err); !ok || failed.Failure != trainer.AttachNoRoom {
		t.Errorf("changes %+v", changes)
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	w := idleWorld(t, nil)
	bad := map[string]func(*graft.Config){
		"no run":     func(c *graft.Config) { c.Run = "" },
		"no keyring": func(c *graft.Config) { c.Keyring = nil },
		"no bus":     func(c *graft.Config) { c.Bus = nil },
		"long id":    func(c *graft.Config) { c.TrainerID = strings.Repeat("x", 129) },
		"access":     func(c *graft.Config) { c.KernelAccess = []string{"ftp"} },
		"no origin":  func(c *graft.Config) { c.KernelAccess = []string{"http"} },
		"origin":     func(c *graft.Config) { c.Kernels.URL = "http://host/path" },
		"scheme":     func(c *graft.Config) { c.Kernels.URL = "ftp://host" },
		"key":        func(c *graft.Config) { c.TrustedKeys = []string{"no key"} },
	}
	for name, spoil := range bad {
		config := graft.Config{Run: "run", Keyring: w.keyring, Bus: w.bus}
		spoil(&config)
		if _, err := graft.New(config); !errors.Is(err, graft.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, shape := range map[string][]int{"trunk": {4}, "": {4}, "flat": {}, "deep": {1, 2, 3, 4}, "none": {0}} {
		if _, err := w.graft.Slot(name, shape...); !errors.Is(err, graft.ErrConfig) {
			t.Errorf("slot %q of %v: %v", name, shape, err)
		}
	}
	w.run()
	w.graft.Report(&leyline.SystemStatePacket{}, nil)
	<-w.bus.reports
	if _, err := w.graft.Slot("late", 4); !errors.Is(err, graft.ErrConfig) {
		t.Errorf("a slot was declared while it runs: %v", err)
	}
}

// A way that takes longer than the order may take is told of, or the service
// would order it for ever.
func TestKernelThatDoesNotComeInTimeIsTold(t *testing.T) {
	t.Parallel()
	slow := newStore(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w := newWorld(t, func(c *graft.Config) { c.Kernels.URL, c.KernelAccess = slow.URL, []string{"http"} })
	order := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
	order.Kernel.URL, order.Deadline = slow.URL+"/kernel", 20*time.Millisecond
	w.wantFailure(w.send(order), trainer.AttachUnreachable)
}
