package weatherlight

import (
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/status"
)

// Step is one step of the boot list with the workers that it starts, in order.
type Step struct {
	Name    string
	Workers []Worker
}

// Worker is a loop that a step may start: which ones it does is up to the settings.
type Worker struct {
	Name   string
	Stream string // role of the stream that it consumes, as in /status; empty: none
	Finite bool   // it comes to an end by itself
}

// Outline is the boot list: steps and workers in the order in which they start. They
// stop in the reverse.
func Outline() []Step {
	return []Step{
		{"data folder and HTTP listener", []Worker{{Name: workerHTTP}}},
		{"oona connection", []Worker{{Name: workerBroker}}},
		{"streams and groups", []Worker{{Name: workerFleet}, {Name: workerOutbox}, {Name: workerSecrets}}},
		{"urza catalogue", nil},
		{"urza prefetch worker", []Worker{{Name: workerPrefetch, Stream: roleKernelRequests}}},
		{"kasmina coordinator", []Worker{
			{Name: workerRuns},
			{Name: workerSeedReady, Stream: roleKernelReady}, {Name: workerSeedErrors, Stream: roleKernelErrors},
		}},
		{"tamiyo and command consumer", []Worker{
			{Name: workerPolicyNotes}, {Name: workerPolicies, Stream: rolePolicy},
			{Name: workerControl, Stream: roleNormal},
		}},
		{"tezzeret forge", nil},
		{"loops", []Worker{
			{Name: workerTelemetry}, {Name: workerSummary}, {Name: workerHousekeeping},
			{Name: workerEmergency, Stream: roleEmergency},
			{Name: workerSignalReports}, {Name: workerSignals}, {Name: workerScrub},
			{Name: workerHealthWatch}, {Name: workerNissa}, {Name: workerWatchdog},
			{Name: workerForge, Finite: true},
		}},
		{"ready", nil},
	}
}

func stepNames() (names []string) {
	for _, step := range Outline() {
		names = append(names, step.Name)
	}
	return names
}

// Roles of streams, which may have any names.
const (
	roleNormal         = "normal"
	roleEmergency      = "emergency"
	roleTelemetry      = "telemetry"
	rolePolicy         = "policy"
	roleKernelRequests = "kernel_requests"
	roleKernelReady    = "kernel_ready"
	roleKernelErrors   = "kernel_errors"
	roleDeadLetters    = "dead_letter"
)

// streamTable names the streams by their roles, in the order of /status.
func streamTable(streams oona.Streams) []status.Stream {
	return []status.Stream{
		{Role: roleNormal, Stream: streams.Normal},
		{Role: roleEmergency, Stream: streams.Emergency},
		{Role: roleTelemetry, Stream: streams.Telemetry},
		{Role: rolePolicy, Stream: streams.Policy},
		{Role: roleKernelRequests, Stream: streams.KernelRequests},
		{Role: roleKernelReady, Stream: streams.KernelReady},
		{Role: roleKernelErrors, Stream: streams.KernelErrors},
		{Role: roleDeadLetters, Stream: assembly.DeadLetters},
	}
}

// streamOf is the stream that a worker of the outline consumes.
func streamOf(name string, streams oona.Streams) string {
	for _, step := range Outline() {
		for _, worker := range step.Workers {
			for _, stream := range streamTable(streams) {
				if worker.Name == name && worker.Stream == stream.Role {
					return stream.Stream
				}
			}
		}
	}
	return ""
}
