package oona

import (
	"context"
	"time"
)

// keepLeases renews the leases on entries whose handlers take long, so that
// nobody takes them for abandoned. It does nothing else, so that nothing holds it up.
func (s *consumer) keepLeases(fetch context.Context) {
	idle := s.c.cfg.ClaimIdle
	if idle < 0 {
		return
	}
	renewal := s.c.phase.NewTimer(claimPeriod(idle))
	defer renewal.Stop()
	for {
		select {
		case <-fetch.Done():
			return
		case <-renewal.C:
			s.extend(fetch, s.flights.olderThan(time.Now().Add(-idle/3)))
			renewal.Again()
		}
	}
}

// extend renews leases. It does not count as a delivery.
func (s *consumer) extend(fetch context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(fetch, s.c.cfg.DialTimeout)
	defer cancel()
	command := s.c.conn.B().Xclaim().Key(s.sub.Stream).Group(s.sub.Group).Consumer(s.c.cfg.Consumer).
		MinIdleTime("0").Id(ids...).Justid().Build()
	if err := s.c.conn.Do(ctx, command).Error(); err != nil && fetch.Err() == nil {
		s.log.Debug("lease not renewed", "entries", len(ids), "error", err)
	}
}
