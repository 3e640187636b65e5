package kernel_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/esper-lite/weatherlight/kernel"
)

// garbage is a file that is none of ours.
type garbage struct {
	name, reason string
	file         []byte
}

func garbageFiles(t *testing.T) []garbage {
	t.Helper()
	file := encoded(t, plain(t))
	return []garbage{
		{"nothing", "IR version 0", nil},
		{"trailing garbage", "", append(slices.Clone(file), 0xde, 0xad, 0xbe, 0xef)},
		{"a trailing unknown field", "field 99", protowire.AppendVarint(
			protowire.AppendTag(slices.Clone(file), 99, protowire.VarintType), 1)},
		{"a cut file", "not an ONNX file", file[:len(file)-3]},
		{"a pickle", "", []byte("\x80\x02}q\x00(X\x05\x00\x00\x00modelq\x01ctorch\n")},
		{"a zip", "", []byte("PK\x03\x04archive/data.pkl")},
		{"a file beyond the bound", "bytes", make([]byte, kernel.MaxFileBytes+1)},
		{"a bomb of empty messages", "fields", bytes.Repeat([]byte{0x42, 0x00}, 1<<20)},
		{"a group", "", []byte{0x0b, 0x0c}},
	}
}

func TestGarbageIsRefused(t *testing.T) {
	for _, c := range garbageFiles(t) {
		t.Run(c.name, func(t *testing.T) {
			if reason := refusal(t, c.file); !strings.Contains(reason, c.reason) {
				t.Errorf("reason %q, want it to say %q", reason, c.reason)
			}
		})
	}
}

func TestBombOfEmptyMessagesTakesNoMemory(t *testing.T) {
	file := bytes.Repeat([]byte{0x42, 0x00}, kernel.MaxFileBytes/2)
	if taken := allocated(func() { refusal(t, file) }); taken > 1<<20 {
		t.Errorf("refusing the file took %d bytes", taken)
	}
}

// allocated is how many bytes run takes.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// bomb builds a kernel whose graph is small and whose work is not.
func bomb(build func(b *kernel.Builder)) *kernel.Builder {
	b := kernel.NewBuilder("bomb", 4)
	build(b)
	return b
}

// shapeBomb is a graph that is small and whose work is not.
type shapeBomb struct {
	name, reason string
	build        func(b *kernel.Builder)
}

func shapeBombs() []shapeBomb {
	return []shapeBomb{
		{"broadcast of two long vectors", "elements", func(b *kernel.Builder) {
			b.Init("column", kernel.NewTensor(4096, 1))
			b.Init("row", kernel.NewTensor(1, 4096))
			b.Node("Add", []string{"column", "row"}, "plane")
			b.Node("ReduceMean", []string{"plane"}, "mean")
			b.Node("Add", []string{"host", "mean"}, "seed")
		}},
		{"many large values", "values of one row", func(b *kernel.Builder) {
			b.Init("column", kernel.NewTensor(1024, 1))
			b.Init("row", kernel.NewTensor(1, 1024))
			b.Node("Add", []string{"column", "row"}, "p0")
			for i := range 8 {
				b.Node("Relu", []string{fmt.Sprint("p", i)}, fmt.Sprint("p", i+1))
			}
			b.Node("ReduceMean", []string{"p8"}, "mean")
			b.Node("Add", []string{"host", "mean"}, "seed")
		}},
		{"many large products", "multiply-adds", func(b *kernel.Builder) {
			b.Init("m", kernel.NewTensor(512, 512))
			b.Node("MatMul", []string{"m", "m"}, "p0")
			for i := range 12 {
				b.Node("MatMul", []string{fmt.Sprint("p", i), "m"}, fmt.Sprint("p", i+1))
			}
			b.Node("ReduceMean", []string{"p12"}, "mean")
			b.Node("Add", []string{"host", "mean"}, "seed")
		}},
		{"doubling by concatenation", "dimension of 2097152", func(b *kernel.Builder) {
			b.Node("Identity", []string{"host"}, "c0")
			for i := range 40 {
				b.Node("Concat", []string{fmt.Sprint("c", i), fmt.Sprint("c", i)}, fmt.Sprint("c", i+1),
					kernel.IntAttr("axis", 1))
			}
			b.Node("ReduceMean", []string{"c40"}, "mean", kernel.IntsAttr("axes", 1))
			b.Node("Add", []string{"host", "mean"}, "seed")
		}},
		{"the square of the batch", "square of the batch", func(b *kernel.Builder) {
			b.Node("Transpose", []string{"host"}, "t")
			b.Node("MatMul", []string{"host", "t"}, "seed")
		}},
	}
}

func TestShapeBombsAreRefusedBeforeTheyAllocate(t *testing.T) {
	for _, c := range shapeBombs() {
		t.Run(c.name, func(t *testing.T) {
			b := bomb(c.build)
			taken := allocated(func() {
				if _, err := b.Bytes(); !errors.Is(err, kernel.ErrProfile) || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("error %v, want it to say %q", err, c.reason)
				}
			})
			if taken > 8<<20 { // some copies of the largest file
				t.Errorf("refusing the graph took %d bytes", taken)
			}
		})
	}
}

func TestOneFlippedBitNeverPanics(t *testing.T) {
	file := encoded(t, plain(t))
	accepted := 0
	for bit := range 8 * len(file) {
		spoiled := slices.Clone(file)
		spoiled[bit/8] ^= 1 << (bit % 8)
		k, err := kernel.Load(spoiled)
		if err == nil {
			accepted++
			runOnce(t, k)
		} else if !errors.Is(err, kernel.ErrProfile) {
			t.Fatalf("bit %d: %v is no refusal", bit, err)
		}
	}
	t.Logf("%d of %d flipped bits still give a valid kernel", accepted, 8*len(file))
}

// runOnce runs a kernel forwards and backwards on two rows, in both modes.
func runOnce(t testing.TB, k *kernel.Kernel) {
	t.Helper()
	tape := kernel.NewTape()
	runIn(t, k, tape)
	tape.Reset()
	tape.Train(rand.New(rand.NewPCG(1, 1)))
	runIn(t, k, tape)
}

func runIn(t testing.TB, k *kernel.Kernel, tape *kernel.Tape) {
	t.Helper()
	shape := k.Input().Shape
	shape[0] = 2
	y, err := k.Instantiate().Forward(tape, tape.Input(kernel.NewTensor(shape...)))
	if err != nil {
		t.Fatalf("a kernel that was accepted does not run: %v", err)
	}
	want := k.Output().Shape
	want[0] = 2
	if !slices.Equal(y.Shape(), want) {
		t.Fatalf("the output is %v, inferred was %v", y.Shape(), want)
	}
	loss := must(t)(tape.ReduceMean(y, false))
	if err := tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(encoded(f, plain(f)))
	f.Add(bytesOf(f, gated(f, 4, 8)))
	f.Add(bytesOf(f, everyOperator(f)))
	f.Add(bytesOf(f, everySpaceOperator(f)))
	f.Add([]byte("\x80\x02}q\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		var k *kernel.Kernel
		var err error
		taken := allocated(func() { k, err = kernel.Load(file) })
		if bound := uint64(1<<20 + 32*len(file)); taken > bound {
			t.Fatalf("loading %d bytes took %d, allowed are %d", len(file), taken, bound)
		}
		if err != nil {
			if !errors.Is(err, kernel.ErrProfile) {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if k.MultiplyAdds() < 1<<20 {
			runOnce(t, k)
		}
	})
}
