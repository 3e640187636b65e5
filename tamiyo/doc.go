// Package tamiyo decides when a network grows. It watches the reports of training
// runs and answers with adaptation commands, keeps the policy that those
// decisions are made under, and reports from the field how each seed ended.
//
// The package knows no bus and no catalogue: a [Controller] turns a run's
// [Record] and one report into a [Decision], [Policies] turns one policy update
// into durable files, and a [ReportLog] owns the field reports until somebody
// took them.
package tamiyo
