// Package control is where training runs are decided on: it hands what arrives
// on the bus to Kasmina's core and to Tamiyo's controller, and carries out what
// they decide.
//
// A [Room] handles states, commands, kernel answers and emergencies, as
// handlers of the bus and as a worker for what comes due. It decides nothing
// itself: both parts are pure functions of a run's record, which
// internal/runrecord loads and writes. The composition root wires it to the
// streams, the HTTP side reads its View.
package control
