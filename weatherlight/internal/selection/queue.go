package selection

import "time"

// queue is what waits for its turn.
type queue struct {
	room    int // that are made at a time
	busy    int
	waiting []*shapeList
}

// begin puts a list that is to be made into its queue. Who works there goes when nothing waits any more.
func (l *lists) begin(q *queue, known *shapeList) {
	q.waiting = append(q.waiting, known)
	if q.busy < q.room {
		q.busy++
		l.work.Go(func() { l.workAt(q) })
	}
}

func (l *lists) workAt(q *queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(q.waiting) > 0 {
		next := q.waiting[0]
		if q.waiting = q.waiting[1:]; len(q.waiting) == 0 {
			q.waiting = nil
		}
		l.makeOne(next)
	}
	q.busy--
}

// makeOne makes a list, during which it lets go of the lock.
func (l *lists) makeOne(known *shapeList) {
	made := *known
	isNew := !made.known
	l.mu.Unlock()
	if isNew {
		made.surveyed, made.err = l.survey(l.ctx, made.slot)
		made.known = made.err == nil
	}
	made.candidates = nil
	if made.known {
		made.candidates, made.err = l.find(l.ctx, made.slot, made.surveyed)
	}
	l.mu.Lock()
	known.surveyed, known.known = made.surveyed, made.known
	known.making, known.made, known.candidates, known.err = nil, time.Now(), made.candidates, made.err
	known.took = known.made.Sub(known.begun)
	if isNew {
		known.took = 0
		l.answered(made.asker)
	}
	close(made.making)
}

// answered takes a survey off the account of the run that it was made for.
func (l *lists) answered(run string) {
	if l.asked[run]--; l.asked[run] == 0 {
		delete(l.asked, run)
	}
}
