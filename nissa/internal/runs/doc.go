// Package runs says what messages of the bus tell of training runs. A Batch holds the
// records that messages are about and what they add to them; Apply is pure: record and
// message in, record and rows out. It knows neither a bus nor a database.
//
// Everything that senders write is cut to its bounds here, once, before anybody keeps it.
package runs
