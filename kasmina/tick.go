package kasmina

import "slices"

// tick looks at every deadline.
func (st *step) tick() {
	if st.fresh {
		return
	}
	for _, s := range slices.Clone(st.r.Seeds) {
		if s.Wait != nil && st.now >= s.Wait.Deadline {
			st.timeOut(s)
		}
	}
	st.expireOrders()
	st.releaseDue()
	st.noteSilence()
}

// expireOrders gives up orders whose deadline has passed.
func (st *step) expireOrders() {
	over := func(p pending) bool { return p.Until != 0 && st.now > p.Until }
	for _, p := range st.r.Pending {
		if over(p) {
			st.expire(&p)
		}
	}
	st.r.Pending = without(st.r.Pending, over)
}

// noteSilence tells once of a trainer that reports no more. Its seeds are kept.
func (st *step) noteSilence() {
	t := &st.r.Trainer
	if t.ID == "" || t.Silent || st.now < t.Stored.plus(st.config.silence(t)) {
		return
	}
	t.Silent = true
	st.tell("run_silent", levelWarning, "training_run_id", st.r.Run, "trainer_id", t.ID,
		"since", t.Stored.time().Format("2006-01-02T15:04:05Z07:00"), "seeds", number(len(st.r.Seeds)))
}
