// Package shmsignal finds the signals that a trainer on this machine raises in shared
// memory: a rollback deadline it missed, an emergency.
//
// A [Watch] looks at the trainer's segments and clears exactly what it reports. What was
// found is a [Trigger]; it may stand for several signals that came close together. A
// segment is polled while somebody has it open who does not notify, and looked at five
// times a second otherwise; [Status] tells which it is. docs/adr/0009 has the reasons,
// docs/operations/shared-memory-signals.md the layout of the records.
package shmsignal
