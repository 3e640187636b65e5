package telemetry

import "github.com/esper-lite/weatherlight/leyline"

// PriorityIndicator is the health indicator that names a packet's priority.
const PriorityIndicator = "priority"

// Priority is the one rule that every path uses to route a packet:
//
//  1. a health indicator "priority" that names a MessagePriority wins;
//  2. otherwise the packet's level decides: CRITICAL is CRITICAL, WARNING and
//     ERROR are HIGH;
//  3. everything else is NORMAL.
//
// Packets of HIGH and CRITICAL priority travel on the emergency stream.
func Priority(packet *leyline.TelemetryPacket) leyline.MessagePriority {
	if named := indicated(packet); named != leyline.MessagePriority_MESSAGE_PRIORITY_UNSPECIFIED {
		return named
	}
	return levelPriority(packet.GetLevel())
}

// EventPriority is the highest priority that any of the events asks for:
// CRITICAL events ask for CRITICAL, WARNING and ERROR events for HIGH.
func EventPriority(events []*leyline.TelemetryEvent) leyline.MessagePriority {
	highest := leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
	for _, event := range events {
		highest = max(highest, levelPriority(event.GetLevel()))
	}
	return highest
}

func indicated(packet *leyline.TelemetryPacket) leyline.MessagePriority {
	name := packet.GetSystemHealth().GetIndicators()[PriorityIndicator]
	return leyline.MessagePriority(leyline.MessagePriority_value[name])
}

func levelPriority(level leyline.TelemetryLevel) leyline.MessagePriority {
	switch level {
	case leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL:
		return leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL
	case leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR:
		return leyline.MessagePriority_MESSAGE_PRIORITY_HIGH
	default:
		return leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
	}
}
