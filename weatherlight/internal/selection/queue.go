package selection

import "time"

// queue is what waits for its turn.
type queue struct {
	room    int // that are made at a time
	busy    int
	waiting []job
}

// job is a list to be made, and the run that its survey is for.
type job struct {
	list *shapeList
	run  string
}

// begin puts a job into its queue. Who works there goes when nothing waits any more.
func (l *lists) begin(q *queue, j job) {
	q.waiting = append(q.waiting, j)
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
func (l *lists) makeOne(j job) {
	made := *j.list
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
	done := j.list.making
	j.list.surveyed, j.list.known = made.surveyed, made.known
	j.list.making, j.list.made, j.list.candidates, j.list.err = nil, time.Now(), made.candidates, made.err
	if isNew {
		count(l.asked, j.run, -1)
	}
	close(done)
}
