// Package runstore keeps what package runs makes of messages in a database: a SQLite file,
// or a PostgreSQL server that several processes share. Put takes messages in, each once,
// in one transaction; what a message comes to and the mark by which it is known commit
// together. The other methods read, tidy up, export and import.
package runstore
