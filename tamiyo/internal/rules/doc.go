// Package rules judges what is risky about a training run. Its table says which figures
// of a run are looked at, what they are held against, and what follows.
//
// [Assess] is a pure function of [Facts] and goes through the table from top to bottom.
// A figure that nobody told is unknown: no rule fires on it, and none is calmed by it.
// Package tamiyo gathers the facts and acts on the [Verdict]. docs/controller.md has the
// table, which [Markdown] writes.
package rules
