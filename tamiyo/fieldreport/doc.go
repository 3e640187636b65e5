// Package fieldreport is the record of what became of seeds: one file of field
// reports, kept for a while and searched by run, seed and blueprint.
//
// A [Log] takes each report once and hands it to whoever publishes it before it
// writes it down, so that everything in the log is on its way to the bus already.
// [Config] says how, and for how long reports are kept; [Query] selects some.
// Weatherlight gives it the reports that Tamiyo's decisions bring.
package fieldreport
