// Package elastic keeps documents of messages in Elasticsearch or OpenSearch, in four indices:
// telemetry, simic_metrics, system_state and field_report.
//
// A document is made and written into the spool of its index on the disk at once, by [Indexer.Keep],
// which waits for no network. [Indexer.Run] sends what lies there, each index for itself, so that one
// that takes nothing holds up no other. A file of the spool is the body of one bulk request, and is
// removed when each document in it has its answer, so that a process that was killed sends the file
// again; its documents have ids of their own by which those that arrived are known.
package elastic
