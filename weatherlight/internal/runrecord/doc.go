// Package runrecord changes the records of training runs: it loads one, lets a
// pure function decide on it, writes what came of it by compare-and-set, and
// publishes what was decided.
//
// [Keeper] is the whole of it, one for each part that decides (Kasmina,
// Tamiyo). Any instance may change any record at any time. A conflict loads the
// record anew and decides again. Orders are stored with the record in one step;
// every other output is stored in the record first, published, and then taken
// out of it, so that whoever finds it still there publishes it. The control
// room calls it for each message.
package runrecord
