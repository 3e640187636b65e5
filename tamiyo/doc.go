// Package tamiyo decides when a network grows. It watches the state packets of
// training runs and answers with signed adaptation commands, keeps the policy
// that those decisions are made under, and reports from the field how each
// seed ended.
//
// The package knows no bus and no catalogue: a [Controller] turns one state
// packet into one [Decision], [Policies] turns one policy update into durable
// files, and a [ReportLog] owns the field reports until somebody took them.
package tamiyo
