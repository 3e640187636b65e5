// Package tamiyo decides when a network grows. It watches the reports of training
// runs and answers with adaptation commands, and reports from the field how each
// seed ended.
//
// The package knows no bus and no catalogue: a [Controller] turns a run's [Record]
// and one report of its trainer, a [State], into a [Decision]. Weatherlight calls it
// for each report; its rooms policy and fieldreport keep what it decides under and
// what came of it.
package tamiyo
