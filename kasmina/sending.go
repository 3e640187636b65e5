package kasmina

import (
	"cmp"
	"slices"

	"github.com/esper-lite/weatherlight/trainer"
)

// ordersAtOnce bounds the orders of one decision: a stream keeps 64, and what pushes
// out one that was not read is worth nothing.
const ordersAtOnce = 32

// holdBack leaves the orders above the bound to later decisions. Those with lower numbers
// go first, and so do those that were held back before: a trainer that has read a number
// asks for none below it. An emergency goes before all of them.
func (st *step) holdBack() {
	st.sendHeld()
	if len(st.d.Orders) <= ordersAtOnce {
		return
	}
	urgentFirst(st)
	st.d.Orders = st.d.Orders[:min(len(st.d.Orders), ordersAtOnce)]
	last := st.d.Orders[len(st.d.Orders)-1].Number
	for i := range st.r.Pending {
		if st.r.Pending[i].Number > last {
			st.r.Pending[i].Sent = 0
		}
	}
}

// sendHeld lets what was held back go out with the orders of this decision, all by their numbers.
func (st *step) sendHeld() {
	if len(st.d.Orders) == 0 {
		return
	}
	for i := range st.r.Pending {
		if p := &st.r.Pending[i]; p.Sent == 0 {
			p.Sent = st.now
			st.send(p)
		}
	}
	slices.SortStableFunc(st.d.Orders, func(a, b trainer.Order) int { return cmp.Compare(a.Number, b.Number) })
}

func (st *step) nextOrder() uint64 {
	st.r.LastOrder++
	st.changed = true
	return st.r.LastOrder
}

func (st *step) send(p *pending) {
	st.d.Orders = append(st.d.Orders, st.render(p))
	st.changed = true
}

// urgentFirst has what takes seeds out in an emergency go first, by numbers: what has a lower one
// gets a new one, for its trainer would pass it over.
func urgentFirst(st *step) {
	if st.r.LastOrder+uint64(len(st.d.Orders)) > maxOrder {
		return
	}
	slices.SortStableFunc(st.d.Orders, func(a, b trainer.Order) int { return cmp.Compare(rank(st.r, &a), rank(st.r, &b)) })
	orders := make([]trainer.Order, 0, len(st.d.Orders))
	last := uint64(0)
	for _, order := range st.d.Orders {
		if order.Number < last {
			at := slices.IndexFunc(st.r.Pending, func(p pending) bool { return p.Number == order.Number })
			if at < 0 {
				continue // another took its place in this decision
			}
			p := &st.r.Pending[at]
			renumberUnread(st, p)
			order = st.render(p)
		}
		last = order.Number
		orders = append(orders, order)
	}
	st.d.Orders = orders
}

// renumberUnread renumbers an order whose number its trainer will pass over: that a later one was
// read, or applied, does not show that this one was. An attach that was sent may be obeyed yet, and
// is told of with the number that it had.
func renumberUnread(st *step, p *pending) {
	sent := p.Number <= st.first
	if renumber(st, p); p.Kind != trainer.Attach || !sent {
		p.First = p.Number
	}
}

// rank is how urgent an order is, the lowest first.
func rank(r *Record, order *trainer.Order) int {
	if order.Kind == trainer.Emergency && order.Level >= pausingLevel {
		return 0
	}
	if s := r.find(order.Seed); order.Kind == trainer.Pause && s != nil && s.Paused&pausedByEmergency != 0 {
		return 1
	}
	return 2
}

// renew sends an order under a new number.
func (st *step) renew(p *pending) {
	if st.r.LastOrder >= maxOrder {
		return
	}
	p.Renewals++
	renumber(st, p)
	st.d.Stats.Resent++
	st.send(p)
}

// renumber gives an order a number above all others.
func renumber(st *step, p *pending) {
	p.Number, p.Sent, p.Unheeded = st.nextOrder(), st.now, 0
	if p.Until != 0 {
		p.Deadline = max(int64(p.Until-st.now), 1)
	}
	if s := st.r.find(p.Seed); s != nil {
		s.Order = p.Number
	}
}
