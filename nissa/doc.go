// Package nissa is the observability service: it reads what every part of Esper
// says about itself from the bus and shows it as Prometheus series.
//
// Packets come from the telemetry, the normal and the emergency stream. Every
// metric point of a telemetry packet becomes a gauge; packets, reports and
// selected events are counted. Nothing is shown before it was heard, what is
// not heard any more disappears, and no sender can make the service grow beyond
// its bounds.
package nissa
