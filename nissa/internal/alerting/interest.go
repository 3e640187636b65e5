package alerting

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

// interest is what a file looks at.
type interest struct {
	metrics, events map[string]bool
	families        []string // beginnings of metrics
}

func interestOf(file *rules.File) *interest {
	i := &interest{metrics: map[string]bool{}, events: map[string]bool{}}
	note := func(into map[string]bool, names ...string) {
		for _, name := range names {
			into[name] = true
		}
	}
	for r := range file.Rules {
		rule := &file.Rules[r]
		if prefix, is := rule.Family(); is {
			i.families = append(i.families, prefix)
		} else {
			note(i.metrics, rule.Metric)
		}
		note(i.events, rule.Event)
		note(i.events, rule.Clear...)
		if rule.When != nil {
			note(i.metrics, rule.When.Metrics()...)
		}
	}
	for _, o := range file.Objectives {
		note(i.metrics, o.Metric)
		note(i.metrics, o.Total...)
		note(i.metrics, o.Bad...)
	}
	delete(i.metrics, "") // of a rule about events, and the other way round
	delete(i.events, "")
	return i
}

func (i *interest) in(packet *leyline.TelemetryPacket) bool {
	for _, event := range packet.GetEvents() {
		if i.events[event.GetDescription()] {
			return true
		}
	}
	for _, point := range packet.GetMetrics() {
		if name := point.GetName(); i.metrics[name] || i.inFamily(name) {
			return true
		}
	}
	return false
}

func (i *interest) inFamily(name string) bool {
	for _, prefix := range i.families {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Unjudged is a packet as it is put into the store for whoever judges; empty when no rule looks
// at it.
func (d *Desk) Unjudged(packet *leyline.TelemetryPacket) (string, error) {
	if packet.GetSourceSubsystem() == self || !d.looksAt.Load().in(packet) { // what we said comes back
		return "", nil
	}
	bytes, err := proto.Marshal(packet)
	if err != nil {
		return "", fmt.Errorf("put a packet aside for its alerts: %w", err)
	}
	return entry{Packet: bytes}.text()
}
