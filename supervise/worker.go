package supervise

import "context"

// Worker is one long-running loop of the process.
//
// When may Run return? When its context is done, and then promptly; before that only because it cannot go on. It runs
// as long as the process otherwise: a loop that finds nothing to do waits, it does not return. Only a worker declared
// [Spec].Finite may return when it has done what it was for.
//
// What does the returned error mean? After ctx is done the worker was asked to stop, and whatever Run returns, it has
// stopped. Before that, nil means "done for good" for a finite worker and is a failure ([ErrReturned]) for any other:
// a loop that ends unasked is a fault, even when it calls itself well. An error is a failure, and Run is called again
// after a delay; that includes a context error while the worker's own ctx is alive, for it came from some other
// context. An error wrapped by [Permanent] leaves the worker down, one wrapped by [Fatal] asks the process to stop.
// A panic, and runtime.Goexit, are failures like any other and never reach a neighbour.
//
// What does ctx mean? It is the fetch context: once it is done take no new work. It is not the context for the work
// in hand: a stop lets that finish. Use [Work] for everything that belongs to an item already taken (the handler, the
// answer, the acknowledgement); it ends only when the stop has waited long enough. ctx carries the values, but neither
// the deadline nor the cancellation, of the context given to Start. [context.Cause] tells why it ended.
//
// What must be cleaned up before Run returns? Everything this call of Run made: goroutines have ended, connections,
// files, tickers and subscriptions are closed. Nobody else knows of them, and the next call makes its own. Run must not
// close what it was given. Both contexts end when Run returns, so what is left behind is at least told to go.
//
// May it be called again? Yes, after it returned, on the same value, any number of times; never twice at once. Run must
// therefore start from a clean state, and keep between two calls only what it means to keep.
//
// A worker started with [Spec].AwaitReady calls [Ready] once it can take work; until then it is Starting.
type Worker interface {
	Run(ctx context.Context) error
}

// WorkerFunc makes a function a [Worker].
type WorkerFunc func(ctx context.Context) error

// Run calls f.
func (f WorkerFunc) Run(ctx context.Context) error { return f(ctx) }
