package e2e

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// memoryBound is what a process may hold at most, in MiB, whatever it is sent.
const memoryBound = 256

var updatePages = flag.Bool("update", false, "write what was measured into docs/delivery.md")

// hostile is something that a peer sends, and how.
type hostile struct {
	input string
	needs string // what the peer must have
	send  func(w *world, nissa string)
}

// inputs are tried one after the other on the same two processes.
var inputs = []hostile{
	{"nothing: the forge is done, telemetry flows", "", func(*world, string) {}},
	{"64 entries of 8 MB on each of four streams", "Redis", func(w *world, _ string) {
		w.flood(64, 8, func(stream string, _ int) []string { return addCommand(stream, make([]byte, 8<<20), "none") })
	}},
	{"40 entries of 100,000 empty fields on each of four streams", "Redis", func(w *world, _ string) {
		empty := make([]string, 200_000)
		w.flood(40, 20, func(stream string, _ int) []string { return append([]string{"XADD", stream, "*"}, empty...) })
	}},
	{"500 envelopes of 250 kB with a wrong signature on each of four streams", "Redis", func(w *world, _ string) {
		payload := envelope(typeTelemetry, make([]byte, 250_000))
		w.flood(500, 100, func(stream string, _ int) []string { return addCommand(stream, payload, sign("wrong", payload)) })
	}},
	{"500 envelopes of 260,000 elements of two bytes on each of four streams", "the secret", func(w *world, _ string) {
		points := []byte(strings.Repeat("\x52\x00", 130_000))
		payload := envelope(typeTelemetry, points)
		w.flood(500, 100, func(stream string, _ int) []string { return addCommand(stream, payload, sign(secret, payload)) })
	}},
	{"1,000 requests with ids of 200 kB, and as many packets", "the secret", func(w *world, _ string) {
		long := strings.Repeat("x", 200_000)
		w.flood(1000, 100, func(stream string, number int) []string {
			return signedEntry(stream, number, fmt.Sprintf("%s-%d", long, number))
		})
	}},
	{"10,000 requests with ids of 500 bytes, and as many packets", "the secret", func(w *world, _ string) {
		long := strings.Repeat("x", 490)
		w.flood(10_000, 500, func(stream string, number int) []string {
			return signedEntry(stream, number, fmt.Sprintf("%s-%d", long, number))
		})
	}},
	{"200 packets of 1,000 metrics that nobody has named before", "the secret", func(w *world, _ string) {
		w.flood(200, 20, func(stream string, number int) []string {
			var points [][]byte
			for i := range 1000 {
				points = append(points, pointBytes(fmt.Sprintf("%s.%d.%d", strings.Repeat("m", 150), number, i), float64(i)))
			}
			return packetCommand(stream, number, strconv.Itoa(number), points)
		})
	}},
	{"500 packets of 4,000 metrics", "the secret", func(w *world, _ string) {
		var points [][]byte
		for i := range 4000 {
			points = append(points, pointBytes(fmt.Sprintf("%s.%d", strings.Repeat("n", 40), i), float64(i)))
		}
		w.flood(500, 100, func(stream string, number int) []string {
			return packetCommand(stream, number, strconv.Itoa(number), points)
		})
	}},
	{"a packet of 4,800 features", "the secret", func(w *world, _ string) {
		var points [][]byte
		for i := range 4800 {
			points = append(points, pointBytes(fmt.Sprintf("tamiyo.gnn.feature_coverage.f%04d", i), 0.5))
		}
		w.bus.do(packetCommand(streamEmergency, 0, "tamiyo", points)...)
		w.read(streamEmergency)
	}},
	{"2,000 runs with a report of 60 kB each", "the secret", func(w *world, _ string) {
		w.flood(500, 50, func(stream string, number int) []string { return reportCommand(fmt.Sprint(stream, "-", number)) })
	}},
	{"1,000 connections that ask once and stay, to each", "HTTP", func(w *world, nissa string) {
		for _, addr := range []string{w.http, nissa} {
			defer connect(w.t, addr, idleClients, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").close()
		}
		w.goesOn("idle connections")
	}},
	{"200 clients that ask often and take nothing, of each", "HTTP", func(w *world, nissa string) {
		for _, addr := range []string{w.http, nissa} {
			defer connect(w.t, addr, slowClients, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200)).close()
		}
		w.goesOn("slow clients")
	}},
}

// flooded are the streams, with the groups that read them.
var flooded = map[string][]string{
	streamRequests: {group}, streamTelemetry: {nissaGroup}, streamNormal: {group, nissaGroup}, streamEmergency: {group, nissaGroup},
}

const nissaGroup = "nissa-service"

// flood sends so many entries to each of the streams, a part at a time, and waits until
// both services are through with them. What was read goes, so that Redis does not fill the
// machine.
func (w *world) flood(each, part int, command func(stream string, number int) []string) {
	w.t.Helper()
	for sent := 0; sent < each; sent += part {
		for stream := range flooded {
			commands := make([][]string, part)
			for i := range commands {
				commands[i] = command(stream, sent+i)
			}
			if _, err := w.bus.pipeline(commands); err != nil {
				w.t.Fatal(err)
			}
		}
		for stream := range flooded {
			w.read(stream)
			w.bus.do("XTRIM", stream, "MAXLEN", "0")
		}
		w.bus.do("XTRIM", streamDeadLetter, "MAXLEN", "0")
		for _, stream := range []string{streamReady, streamErrors} {
			w.bus.do("XTRIM", stream, "MAXLEN", "100")
		}
	}
}

// read waits until every group of a stream has read and finished it.
func (w *world) read(stream string) {
	w.t.Helper()
	for _, name := range flooded[stream] {
		eventually(w.t, stream+" is read by "+name, 2*patience, func() bool {
			g := w.bus.group(stream, name)
			return g["pending"] == "0" && g["last-delivered-id"] == w.bus.lastID(stream)
		})
	}
}

// lastID is that of the newest entry, even when it is gone.
func (c *redisClient) lastID(stream string) string {
	c.t.Helper()
	info, _ := c.do("XINFO", "STREAM", stream).([]any)
	for i := 0; i+1 < len(info); i += 2 {
		if info[i] == "last-generated-id" {
			id, _ := info[i+1].(string)
			return id
		}
	}
	c.t.Fatalf("XINFO STREAM %s: %v", stream, info)
	return ""
}

// signedEntry is a message with an id, of the type that its stream carries.
func signedEntry(stream string, number int, id string) []string {
	switch stream {
	case streamRequests:
		return addSigned(stream, envelope(typeRequest, kernelRequest(id, id, id, time.Now())))
	case streamNormal:
		var state []byte
		for _, field := range []int{9, 12, 13} {
			state = stringField(state, field, id)
		}
		return addSigned(stream, envelope(typeState, state))
	default:
		return packetCommand(stream, number, id, [][]byte{pointBytes(id, 1)})
	}
}

func addSigned(stream string, payload []byte) []string {
	return addCommand(stream, payload, sign(secret, payload))
}

// packetCommand sends a telemetry packet. One on the normal stream is no telemetry's: a
// state takes its place.
func packetCommand(stream string, number int, source string, points [][]byte) []string {
	if stream == streamRequests || stream == streamNormal {
		return signedEntry(stream, number, "small-"+strconv.Itoa(number))
	}
	packet := stringField(stringField(nil, 1, fmt.Sprint(source, number)), 3, source)
	for _, point := range points {
		packet = bytesField(packet, 10, point)
	}
	return addSigned(stream, envelope(typeTelemetry, packet))
}

func pointBytes(name string, value float64) []byte {
	point := binary.AppendUvarint(stringField(nil, 1, name), 2<<3|1)
	return binary.LittleEndian.AppendUint64(point, math.Float64bits(value))
}

// reportCommand is the report of a run of its own: 60 kB of slots and layers.
func reportCommand(run string) []string {
	var slots, layers []string
	for i := range 64 {
		slots = append(slots, fmt.Sprintf(`"%s%d": [1]`, strings.Repeat("s", 120), i))
	}
	for i := range 128 {
		layers = append(layers, fmt.Sprintf(`"%s%d"`, strings.Repeat("l", 120), i))
	}
	var state []byte
	for field, text := range map[int]string{9: "p", 12: "tolaria", 13: run} {
		state = stringField(state, field, text)
	}
	for i := range 400 {
		state = bytesField(state, 7, stringField(nil, 1, strings.Repeat("m", 70)+strconv.Itoa(i)))
	}
	return addSigned(streamNormal, envelope(typeState, state,
		"trainer_protocol", "1", "trainer_id", run, "report", "1", "order_read", "0", "kernel_access", `["path"]`,
		"slots", "{"+strings.Join(slots, ",")+"}", "host_layers", "["+strings.Join(layers, ",")+"]"))
}

// resetPeak has the kernel forget the most that a process held.
func (p *process) resetPeak() {
	p.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		p.t.Fatal(err)
	}
}

// peak is the most memory that a process held since, in MiB.
func (p *process) peak() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kilobytes, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				p.t.Fatal(err)
			}
			return (kilobytes + 1023) / 1024
		}
	}
	p.t.Fatal("no VmHWM")
	return 0
}

// TestR14R37R38MemoryIsBoundedWhateverPeersSend sends what peers should not, and looks at
// the most memory that both services took. Without its bounds, one packet stopped the
// summary, and either service took gigabytes.
func TestR14R37R38MemoryIsBoundedWhateverPeersSend(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	addr := freeport.Must(t)
	nissa := launch(t, t.TempDir(), append(w.environ, "NISSA_HTTP_ADDR="+addr), nissaService)
	eventually(t, "Nissa is ready", patience, func() bool { code, _, err := get(addr, "/readyz"); return err == nil && code == 200 })
	var table strings.Builder
	for _, row := range inputs {
		w.process.resetPeak()
		nissa.resetPeak()
		begun := time.Now()
		row.send(w, addr)
		w.goesOn(row.input)
		service, shown := w.process.peak(), nissa.peak()
		t.Logf("%s: %s", row.input, time.Since(begun).Round(time.Second))
		if service > memoryBound || shown > memoryBound {
			t.Errorf("%s: the service held %d MiB, Nissa %d MiB, %d allowed", row.input, service, shown, memoryBound)
		}
		fmt.Fprintf(&table, "| %s | %s | %d | %d |\n", row.input, row.needs, service, shown)
	}
	t.Log("\n" + table.String())
	mustHoldMemoryTable(t, table.String())
	nissa.signal(syscall.SIGTERM)
	if code, _ := nissa.exit(stopBound); code != 0 {
		t.Errorf("Nissa stopped with exit code %d", code)
	}
	w.stop()
}

// goesOn asks for a kernel and for a summary.
func (w *world) goesOn(after string) {
	w.t.Helper()
	since := time.Now()
	if got := w.ask("after "+after, compiled, patience); got.kind != typeReady {
		w.t.Errorf("after %s a request got %+v", after, got)
	}
	eventually(w.t, "a summary goes out after "+after, patience, func() bool {
		last := w.lastSummary()
		return last.at.After(since)
	})
	w.bus.do("XTRIM", streamTelemetry, "MAXLEN", "100")
}

// mustHoldMemoryTable compares the inputs with those of the page; the figures are the
// machine's. With -update it writes them.
func mustHoldMemoryTable(t testing.TB, rows string) {
	t.Helper()
	const (
		begin = "<!-- memory: measured by go test ./internal/e2e -run Memory -update -->\n"
		head  = "\n| input | needs | service, MiB | Nissa, MiB |\n| --- | --- | ---: | ---: |\n"
		end   = "\n<!-- end of memory -->\n"
	)
	path := filepath.Join("..", "..", "docs", "delivery.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	had, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatal("docs/delivery.md has no place for the table")
	}
	if *updatePages {
		if err := os.WriteFile(path, []byte(before+begin+head+rows+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, row := range inputs {
		if !strings.Contains(had, "| "+row.input+" | "+row.needs+" |") {
			t.Errorf("docs/delivery.md does not tell of %q", row.input)
		}
	}
}
