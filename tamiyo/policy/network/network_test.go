package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// node is an operator of a policy on the value before it.
type node struct {
	op     string
	beside string // another operand
	times  int
}

// chain is the file of a policy: its row is widened, goes through nodes one after the other, and is
// narrowed again.
func chain(t testing.TB, width int, nodes ...node) []byte {
	t.Helper()
	b := kernel.NewBuilder("policy", Features)
	b.Init("widen", kernel.NewTensor(Features, width))
	b.Init("narrow", kernel.NewTensor(width, Features))
	b.Node("MatMul", []string{"host", "widen"}, "v0")
	at := 0
	for _, n := range nodes {
		for range max(n.times, 1) {
			inputs := []string{fmt.Sprint("v", at)}
			if n.beside != "" {
				inputs = append(inputs, n.beside)
			}
			at++
			b.Node(n.op, inputs, fmt.Sprint("v", at))
		}
	}
	b.Node("MatMul", []string{fmt.Sprint("v", at), "narrow"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A step has milliseconds: every operator counts, not products of matrices alone.
func TestWorkOfAPolicyIsBounded(t *testing.T) {
	t.Parallel()
	constants := kernel.NewBuilder("policy", Features)
	constants.Frozen("table", kernel.NewTensor(1, 1<<18))
	constants.Node("ReduceSum", []string{"table"}, "sum")
	constants.Node("Add", []string{"host", "sum"}, "seed")
	table, err := constants.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		file   []byte
		usable bool
	}{
		"a hidden layer of 64":             {chain(t, 64, node{op: "Relu"}), true},
		"a hidden layer of 256":            {chain(t, 256, node{op: "Relu"}), true},
		"two of 128":                       {chain(t, 128, node{op: "Tanh", times: 2}), true},
		"a function 400 times":             {chain(t, 64, node{op: "Tanh", times: 400}), false},
		"powers":                           {chain(t, 128, node{op: "Pow", beside: "v0", times: 100}), false},
		"what is cheap, a thousand times":  {chain(t, 24, node{op: "Relu", times: 1000}), false},
		"normalised a hundred times":       {chain(t, 128, node{op: "Softmax", times: 100}), false},
		"what is the same for all rows":    {table, false},
		"products of matrices that pass":   {chain(t, 2000), true},
		"products of matrices that do not": {chain(t, 6000), false},
	} {
		if _, err := Read(row.file); errors.Is(err, ErrUnusable) == row.usable || row.usable && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// looks is a context that is asked whether it has ended, and says so from some time on.
type looks struct {
	context.Context
	left int
	seen int
	look func()
}

func (l *looks) Err() error {
	l.seen++
	if l.look != nil {
		l.look()
	}
	if l.left--; l.left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func rowsOf(count int) [][]float32 {
	return slices.Repeat([][]float32{make([]float32, Features)}, count)
}

func TestPolicyThatIsOutOfTimeHasNoAnswer(t *testing.T) {
	t.Parallel()
	large, err := Read(chain(t, 2000))
	if err != nil {
		t.Fatal(err)
	}
	const rows = 500
	all := &looks{Context: t.Context(), left: 1 << 20}
	if answers, err := large.Judge(all, rowsOf(rows)); err != nil || len(answers) != rows {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	if all.seen < rows/20 {
		t.Errorf("it looks at the time %d times in %d rows", all.seen, rows)
	}
	for _, left := range []int{0, 1, all.seen - 1} { // the last look is after the last row
		now := &looks{Context: t.Context(), left: left}
		if answers, err := large.Judge(now, rowsOf(rows)); !errors.Is(err, context.DeadlineExceeded) || answers != nil || now.seen != left+1 {
			t.Errorf("out of time at look %d: %d answers after %d, %v", left+1, len(answers), now.seen, err)
		}
	}
}

func TestOneWhoIsSlowDoesNotHoldTheOthers(t *testing.T) {
	t.Parallel()
	network, err := Read(chain(t, 64))
	if err != nil {
		t.Fatal(err)
	}
	within, others := make(chan struct{}), make(chan struct{})
	slow := &looks{Context: t.Context(), left: 9}
	slow.look = func() {
		if slow.seen == 2 { // it has its answer, and has not gone
			close(within)
			<-others
		}
	}
	done := make(chan error)
	go func() {
		_, err := network.Judge(slow, rowsOf(3))
		done <- err
	}()
	<-within
	if _, err := network.Judge(t.Context(), rowsOf(3)); err != nil {
		t.Error(err)
	}
	close(others)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
