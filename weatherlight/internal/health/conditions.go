package health

import (
	"slices"
	"time"
)

// Alarms, as metrics, logs, the status page and docs/operations/alarms.md name them.
const (
	alarmDiskFull    = "disk_full"
	alarmReplaced    = "files_replaced"
	alarmBusDown     = "bus_down"
	alarmLibraryDown = "library_down"
	alarmStranger    = "foreign_secret"
	alarmNoLease     = "lease_lost"
	alarmPaused      = "work_paused"
	alarmUnanswered  = "answers_refused"
	alarmUnread      = "reads_refused"
	alarmWorkerDown  = "worker_down"
	alarmCircuitOpen = "circuit_open"
	alarmWorkerFails = "worker_failing"
	alarmWorkStuck   = "work_stuck"
	alarmDropping    = "telemetry_dropping"
	alarmLogLost     = "log_dropping"
	alarmJobFails    = "housekeeping_failing"
	alarmRefusing    = "messages_refused"
	alarmNissaDown   = "nissa_unreachable"
	alarmSignal      = "signal_unusable"
	alarmUndelivered = "outbox_refused"
	alarmContested   = "second_trainer"
	alarmDamagedRun  = "run_damaged"
	alarmClocks      = "clock_offset"
	alarmEvicting    = "bus_evicts"
	alarmNoStream    = "stream_unusable"
	alarmUnwritable  = "bus_refuses_writes"
	alarmExpiring    = "certificate_expiring"
	alarmExpired     = "certificate_expired"
)

// conditions are all kinds of trouble, causes before what they cause. maintenance is the
// time from one round of maintenance jobs to the next.
func conditions(maintenance time.Duration) []condition {
	// Who has no place on the bus reads nothing and commits nothing.
	outOfTouch := []string{alarmBusDown, alarmStranger, alarmNoLease}
	refused := append(slices.Clone(outOfTouch), alarmUnwritable) // to read for a group is to write
	outages := []string{alarmDiskFull, alarmBusDown, alarmUnwritable, alarmStranger, alarmNoLease, alarmLibraryDown}
	return []condition{
		{name: alarmDiskFull, severity: severityCritical, linger: 10 * time.Second},
		{name: alarmReplaced, severity: severityCritical},
		{name: alarmBusDown, severity: severityCritical, visible: 3 * time.Second, linger: 3 * time.Second},
		{name: alarmStranger, severity: severityCritical, causes: []string{alarmBusDown}, linger: 3 * time.Second},
		{name: alarmNoLease, severity: severityCritical, causes: outOfTouch[:2], visible: 2 * time.Second, linger: 3 * time.Second},
		{name: alarmUnwritable, severity: severityCritical, causes: []string{alarmBusDown}, linger: 3 * time.Second},
		{name: alarmEvicting, severity: severityCritical},
		{name: alarmNoStream, severity: severityCritical, causes: []string{alarmBusDown}},
		{
			name: alarmLibraryDown, severity: severityCritical, causes: []string{alarmDiskFull},
			visible: 3 * time.Second, linger: 3 * time.Second,
		},
		// What waits is told at once, whatever else is told of its cause.
		{name: alarmPaused, severity: severityCritical, causes: outOfTouch, linger: 3 * time.Second},
		{name: alarmUnanswered, severity: severityCritical, causes: refused, linger: 3 * time.Second},
		{name: alarmUnread, severity: severityCritical, causes: refused, linger: 3 * time.Second},
		// Nothing brings back a worker that was left down, so nothing explains it.
		{name: alarmWorkerDown, severity: severityCritical},
		{name: alarmExpired, severity: severityCritical},
		{name: alarmExpiring, severity: severityWarning},
		{name: alarmCircuitOpen, severity: severityWarning, causes: outages, visible: 10 * time.Second},
		{
			name: alarmWorkerFails, severity: severityWarning, causes: outages,
			visible: 10 * time.Second, linger: 30 * time.Second,
		},
		{
			name: alarmWorkStuck, severity: severityWarning, causes: append(outages, alarmPaused, alarmUnanswered, alarmCircuitOpen),
			visible: 5 * time.Second, linger: 3 * time.Second,
		},
		{name: alarmDropping, severity: severityWarning, causes: []string{alarmBusDown}, linger: time.Minute},
		{name: alarmLogLost, severity: severityWarning, linger: time.Minute},
		{
			name: alarmJobFails, severity: severityWarning, causes: outages,
			linger: maintenance + maintenance/2,
		},
		{name: alarmSignal, severity: severityWarning, visible: 3 * time.Second},
		{name: alarmUndelivered, severity: severityWarning},
		{name: alarmContested, severity: severityWarning, linger: 5 * time.Minute},
		{name: alarmDamagedRun, severity: severityWarning, linger: 2 * time.Minute},
		{name: alarmClocks, severity: severityWarning, linger: 3 * time.Second},
		{name: alarmRefusing, severity: severityInfo, linger: 5 * time.Minute},
		{name: alarmNissaDown, severity: severityInfo, visible: 30 * time.Second},
	}
}
