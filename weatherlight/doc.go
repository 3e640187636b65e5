// Package weatherlight is the composition root: it boots the parts of the
// Esper-Lite foundation in one fixed order, connects them through the bus,
// keeps them alive under supervision, reports on them, and stops them in the
// reverse order.
//
// It holds no logic of its own beyond composition: what a message means is
// decided by the subsystem that handles it.
package weatherlight
