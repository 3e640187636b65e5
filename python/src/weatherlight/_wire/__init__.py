"""What travels on the bus: envelopes, reports, orders. No torch and no network here."""
