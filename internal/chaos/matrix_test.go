package chaos_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"

	"google.golang.org/protobuf/proto"
)

const (
	matrixBegin = "<!-- matrix: measured by make chaos -->\n"
	matrixEnd   = "<!-- end of matrix -->\n"

	// mustBeTold is how long a fault may last without an alarm.
	mustBeTold = 5 * time.Second
)

// matrixRow is what one fault did to every kind of message.
type matrixRow struct {
	trial

	cells []cell // in the order of kinds
	told  string // alarms, and what /readyz said, while it lasted
}

func (r matrixRow) String() string {
	lasts, told := "at once", r.told
	if r.lasts > 0 {
		lasts = fmt.Sprintf("%.0f s", r.lasts.Seconds())
	}
	if told == "" {
		told = "nothing"
	}
	columns := []string{r.name, lasts, told}
	for i, c := range r.cells {
		columns = append(columns, c.text(kinds[i]))
	}
	return "| " + strings.Join(append(columns, string(r.may)), " | ") + " |"
}

// untold reports whether nobody was told of a fault that lasted.
func (r matrixRow) untold() bool { return r.lasts > mustBeTold && r.told == "" }

// amounts adds the cells up. What the bus is said to lose is no violation.
func (r matrixRow) amounts() (sent, lost, twice, late int) {
	for _, c := range r.cells {
		sent, late = sent+c.sent, late+c.late
		if r.may != mayLose {
			lost += c.lost
		}
		if r.may == mayNothing {
			twice += c.twice
		}
	}
	return sent, lost, twice, late
}

// try lets every kind of message flow, breaks something, mends it, and waits for the rest.
func (tr trial) try(t *testing.T) matrixRow {
	s, begin, end := tr.set(t)
	s.watch()
	f := startFlow(s, s.blueprints())
	pause(context.Background(), time.Second)
	said := ear{heard: map[string]bool{}}
	listening, silence := context.WithCancel(context.Background())
	var ears sync.WaitGroup
	begin()
	for _, i := range s.instances { // one that does not answer must not keep the others waiting
		ears.Go(func() { said.listen(listening, []*instance{i}) })
	}
	pause(context.Background(), tr.lasts)
	silence()
	end()
	healed := time.Now()
	ears.Wait()
	pause(context.Background(), time.Second)
	f.finish(20 * time.Second)
	s.mustBeWell()
	s.tellDeadLetters()
	row := matrixRow{trial: tr, told: said.String()}
	for _, l := range f.accounts {
		row.cells = append(row.cells, l.cell(healed))
	}
	return row
}

// tellDeadLetters says what was given up, but for what was published twice.
func (s *site) tellDeadLetters() {
	s.t.Helper()
	letters, err := keyed(s.redis, "XRANGE", "oona.deadletter", "-", "+", "COUNT", "1000").AsXRange()
	if err != nil {
		s.t.Errorf("dead letters: %v", err)
	}
	for _, letter := range letters {
		if f := letter.FieldValues; f["reason"] != "replay" {
			s.t.Logf("dead letter of %s for %s: %s: %s", f["origin_stream"], f["group"], f["reason"], f["error"])
		}
	}
}

// mustBeWell waits until every instance takes work again.
func (s *site) mustBeWell() {
	s.t.Helper()
	for _, i := range s.instances {
		await(s.t, "/readyz is 200 again", func() bool {
			code, _, err := get(i.http, "/readyz")
			return err == nil && code == http.StatusOK
		})
	}
}

// blueprints are those that were announced.
func (s *site) blueprints() (ids []string) {
	s.t.Helper()
	f, l := &flow{site: s, ring: keyring(s.t)}, newAccount(kinds[0])
	await(s.t, "kernels are announced", func() bool {
		f.entries(l, streams.KernelReady, func(_ string, payload proto.Message) {
			if update, is := payload.(*leyline.KernelCatalogUpdate); is {
				ids = append(ids, update.GetBlueprintId())
			}
		})
		return len(ids) >= 10
	})
	return ids
}

// judge holds a fault to what must be true of it at any speed.
func (r matrixRow) judge(t *testing.T) {
	t.Helper()
	for i, c := range r.cells {
		if c.lost > 0 && r.may != mayLose || c.twice > 0 && r.may == mayNothing {
			t.Errorf("%s: %d sent, lost %d %v, twice %d", kinds[i].name, c.sent, c.lost, c.missing, c.twice)
		}
		if c.late > 0 {
			t.Logf("%s: %d late, the last %v after the end of the fault", kinds[i].name, c.late, c.worst.Round(time.Millisecond))
		}
		if c.sent == 0 {
			t.Errorf("%s: nothing was acknowledged", kinds[i].name)
		}
	}
	if r.untold() {
		t.Errorf("nobody was told of it within %v", r.lasts)
	}
}

// TestFaultMatrix breaks everything that a service needs, with every kind of message under
// way, around the built commands; with -update it writes the table of docs/delivery.md.
func TestFaultMatrix(t *testing.T) {
	if options.faults == "quick" {
		t.Parallel()
	}
	if err := binaries.build(); err != nil {
		t.Fatal(err)
	}
	rows := make([]matrixRow, len(trials))
	var tried sync.WaitGroup
	slots := make(chan struct{}, 2)
	for i, tr := range trials {
		if !chosen(tr) {
			continue
		}
		tried.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(tr.name, func(t *testing.T) {
				rows[i] = tr.try(t)
				t.Log(rows[i])
				rows[i].judge(t)
			})
		})
	}
	tried.Wait()
	sum(rows)
	if options.update && options.matrix == "all" {
		writeMatrix(t, rows)
	}
}

// chosen reports whether a trial is a part of this run.
func chosen(tr trial) bool {
	switch options.matrix {
	case "all":
		return true
	case "quick":
		return tr.quick
	default:
		return strings.Contains(tr.name, options.matrix)
	}
}

func sum(rows []matrixRow) {
	var faults, sent, lost, twice, late, untold int
	for _, r := range rows {
		if r.cells == nil {
			continue
		}
		n, without, doubled, after := r.amounts()
		faults, sent, lost, twice, late = faults+1, sent+n, lost+without, twice+doubled, late+after
		if r.untold() {
			untold++
		}
	}
	report("chaos matrix faults=%d messages=%d late=%d lost=%d twice=%d untold=%d", faults, sent, late, lost, twice, untold)
}

func writeMatrix(t *testing.T, rows []matrixRow) {
	t.Helper()
	head, rule := "| fault | lasts | told |", "| --- | --- | --- |"
	for _, k := range kinds {
		head, rule = head+" "+k.name+" |", rule+" --- |"
	}
	lines := []string{head + " may be |", rule + " --- |"}
	for _, r := range rows {
		lines = append(lines, r.String())
	}
	writeBetween(t, matrixBegin, matrixEnd, lines)
}

func TestThePageHasEveryCellOfTheMatrix(t *testing.T) {
	t.Parallel()
	text := readPage(t)
	for _, tr := range trials {
		if !strings.Contains(text, "\n| "+tr.name+" | ") {
			t.Errorf("fault %q is not in %s", tr.name, page)
		}
	}
	for _, k := range kinds {
		if !strings.Contains(text, " "+k.name+" |") {
			t.Errorf("kind %q is not in %s", k.name, page)
		}
	}
}
