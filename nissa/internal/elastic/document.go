package elastic

import (
	"encoding/json"
	"fmt"
	"strings"

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
// the document. They are the same each time that the message is delivered, and create says that
// the first of them stays.
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
// left out. A metric of 0 has its value all the same: a mean over documents would be without it.
func sourceOf(payload proto.Message) ([]byte, error) {
	source, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(payload)
	packet, is := payload.(*leyline.TelemetryPacket)
	if err != nil || !is || !hasZero(packet) {
		return source, err
	}
	var document map[string]json.RawMessage
	var metrics []map[string]json.RawMessage
	if err := json.Unmarshal(source, &document); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(document["metrics"], &metrics); err != nil {
		return nil, err
	}
	for _, metric := range metrics {
		if metric["value"] == nil {
			metric["value"] = json.RawMessage("0")
		}
	}
	if document["metrics"], err = json.Marshal(metrics); err != nil {
		return nil, err
	}
	return json.Marshal(document)
}

func hasZero(packet *leyline.TelemetryPacket) bool {
	for _, point := range packet.GetMetrics() {
		if point.GetValue() == 0 {
			return true
		}
	}
	return false
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
