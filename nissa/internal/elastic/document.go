package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// The indices.
const (
	telemetryIndex = "telemetry"
	simicIndex     = "simic_metrics"
	stateIndex     = "system_state"
	reportIndex    = "field_report"
)

// simic is the source whose packets have an index of their own.
const simic = "simic"

// indexOf is where a message is kept; empty for one that is no document.
func indexOf(payload proto.Message) string {
	switch p := payload.(type) {
	case *leyline.TelemetryPacket:
		if p.GetSourceSubsystem() == simic {
			return simicIndex
		}
		return telemetryIndex
	case *leyline.SystemStatePacket:
		return stateIndex
	case *leyline.FieldReport:
		return reportIndex
	default:
		return ""
	}
}

// linesOf are the two lines of a bulk request that keep a message: where and under which id, and
// the document. The id is the same each time that the message is delivered, and create says that the
// first document stays.
func linesOf(index string, m *runs.Message) ([]byte, error) {
	source, err := sourceOf(m.Payload)
	if err != nil {
		return nil, fmt.Errorf("make a document for %s: %w", index, err)
	}
	key := m.Key()
	id := fmt.Sprintf("%016x%016x", uint64(key.Made), uint64(key.Hash)) //nolint:gosec // bits, not numbers
	lines := fmt.Appendf(nil, actionBegin+`%s","_id":"%s"}}`+"\n", index, id)
	return append(append(lines, source...), '\n'), nil
}

// sourceOf is the JSON of a message in one line: names as in the contract, what has its default
// left out.
func sourceOf(payload proto.Message) ([]byte, error) {
	packet, is := payload.(*leyline.TelemetryPacket)
	if !is || len(packet.GetMetrics()) == 0 {
		return protojson.MarshalOptions{UseProtoNames: true}.Marshal(payload)
	}
	// Metrics are most of a packet. By hand they take a fraction of the time.
	source, err := sourceOf(&leyline.TelemetryPacket{
		PacketId: packet.GetPacketId(), Timestamp: packet.GetTimestamp(), SourceSubsystem: packet.GetSourceSubsystem(),
		Level: packet.GetLevel(), Events: packet.GetEvents(), Spans: packet.GetSpans(), SystemHealth: packet.GetSystemHealth(),
	})
	if err != nil {
		return nil, err
	}
	source = bytes.TrimSuffix(source, []byte("}"))
	if len(source) > 1 {
		source = append(source, ',')
	}
	source = append(source, `"metrics":[`...)
	for i, point := range packet.GetMetrics() {
		if i > 0 {
			source = append(source, ',')
		}
		source = appendMetric(source, point)
	}
	return append(source, "]}"...), nil
}

// appendMetric writes a metric as the contract's JSON, but for one thing: a value of 0 is there as
// well, or a mean over documents would be without it.
func appendMetric(to []byte, point *leyline.MetricPoint) []byte {
	to = append(to, `{"value":`...)
	switch value := point.GetValue(); {
	case math.IsNaN(value):
		to = append(to, `"NaN"`...)
	case math.IsInf(value, 1):
		to = append(to, `"Infinity"`...)
	case math.IsInf(value, -1):
		to = append(to, `"-Infinity"`...)
	default:
		to = strconv.AppendFloat(to, value, 'g', -1, 64)
	}
	if name := point.GetName(); name != "" {
		to = appendText(append(to, `,"name":`...), name)
	}
	if unit := point.GetUnit(); unit != "" {
		to = appendText(append(to, `,"unit":`...), unit)
	}
	if len(point.GetAttributes()) > 0 {
		separator := `,"attributes":{`
		for name, text := range point.GetAttributes() {
			to = appendText(append(to, separator...), name)
			to = appendText(append(to, ':'), text)
			separator = ","
		}
		to = append(to, '}')
	}
	return append(to, '}')
}

// appendText writes a text in quotes.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(text) // texts have no errors
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

// item is one document of a bulk request.
type item struct{ action, source string }

func (i item) index() string {
	_, rest, _ := strings.Cut(i.action, `"_index":"`)
	index, _, _ := strings.Cut(rest, `"`)
	return index
}

// itemsOf reads a file of the spool. Damaged is how many documents in it cannot be read: a machine
// that lost its power may have written half of one, or none of its bytes.
func itemsOf(text []byte) (items []item, damaged int) {
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] == "" && i == len(lines)-1 {
			break // behind the last line
		}
		if i+2 < len(lines) && isAction(lines[i]) && json.Valid([]byte(lines[i+1])) && !isAction(lines[i+1]) {
			items = append(items, item{lines[i], lines[i+1]})
			i++
			continue
		}
		damaged++
		for i+1 < len(lines) && !isAction(lines[i+1]) {
			i++ // what belongs to it
		}
	}
	return items, damaged
}

const actionBegin = `{"create":{"_index":"`

func isAction(line string) bool {
	return strings.HasPrefix(line, actionBegin) && json.Valid([]byte(line))
}

// bodyOf is the body of a bulk request: every line ends, also the last.
func bodyOf(items []item) string {
	var body strings.Builder
	for _, i := range items {
		body.WriteString(i.action + "\n" + i.source + "\n")
	}
	return body.String()
}
