package oona

import "context"

// Consume (stub)
func (c *Client) Consume(fetch, work context.Context, sub Subscription) error {
	<-fetch.Done()
	return nil
}
