package alerting

import "time"

// waver is by how much two looks at a shared clock may differ without its having been set.
const waver = time.Second

// Now is the time by which alerts are judged.
func (d *Desk) Now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now()
}

// now is the time by the clock that desks share. Once that was set back, what was noted before is of a
// time to come: it is moved here, for what comes would be taken for late until then.
func (d *Desk) now() time.Time {
	now := d.config.Now().Round(0) // by that clock alone: what was kept knows no other
	back := d.latest.Sub(now)
	if back > 0 && back <= waver {
		return d.latest
	}
	d.latest = now
	if back > waver {
		d.logger.Warn("the clock by which alerts are judged was set back", "by", back.Round(time.Second))
		d.notAfter(now)
		d.ears.notAfter(now)
		d.unsaved = true
	}
	return now
}

// notAfter has the books say nothing of a time to come.
func (b *books) notAfter(now time.Time) {
	b.tracker.NotAfter(now)
	b.planner.NotAfter(now)
	b.objectives.NotAfter(now)
	b.engine.NotAfter(now)
}
