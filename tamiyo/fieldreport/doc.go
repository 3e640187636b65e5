// Package fieldreport is the record of what became of seeds: one file of field
// reports, of which the last ones are kept for a while.
//
// A [Log] takes each report once and hands it to whoever publishes it before it
// writes it down, so that everything in the log is on its way to the bus already.
// [Config] says how, for how long, and how many reports are kept.
// Weatherlight gives it the reports that Tamiyo's decisions bring.
package fieldreport
