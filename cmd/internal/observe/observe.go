// Package observe runs Nissa in the process of a service, for who looks at what is tried on one
// machine: the demo, and the service in its dev mode. [Open] gives a [Page], which lives until it is closed.
package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/nissaconfig"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	// readyTimeout bounds the wait for the page, lookPause is between two looks at it.
	readyTimeout = 10 * time.Second
	lookPause    = 2 * time.Millisecond
	// farewellTimeout bounds what is tidied up on the bus.
	farewellTimeout = 2 * time.Second
)

// ErrEnded is the end of a page that nobody closed.
var ErrEnded = errors.New("the page has ended")

// Config says what is observed, and where it is shown.
type Config struct {
	Bus     string // address
	Keyring *signing.Keyring
	// Group is the consumer group of this Nissa alone, so that it takes nothing from another.
	Group  string
	HTTP   nissa.HTTP
	Store  nissa.Store
	Alerts bool // look for what is wrong by the shipped rules, and tell of it on the bus
	Logger *slog.Logger
}

func (c Config) alerts() *nissa.Alerts {
	if !c.Alerts {
		return nil
	}
	return &nissa.Alerts{Rules: func() ([]byte, string, error) { return nissa.ShippedRules(nissa.Thresholds{}), "", nil }}
}

// Page is a Nissa that runs.
type Page struct {
	bus     *oona.Client
	group   string
	service *nissa.Service
	stop    context.CancelFunc
	ended   chan error
}

// Open starts Nissa and waits until it is ready. Its life does not end with ctx, but by Close.
func Open(ctx context.Context, config Config) (*Page, error) {
	if err := config.HTTP.Check(ctx); err != nil {
		return nil, err
	}
	bus, err := oona.Connect(ctx, oona.Config{
		URL: config.Bus, Group: config.Group, Consumer: config.Group, Keyring: config.Keyring, Logger: config.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("join the bus: %w", err)
	}
	service, err := nissa.New(nissa.Config{
		Bus: bus, Name: config.Group, HTTP: config.HTTP, Group: config.Group, Store: config.Store,
		Alerts: config.alerts(), Logger: config.Logger, Points: nissaconfig.Points(),
	})
	if err != nil {
		return nil, errors.Join(err, bus.Close())
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // see above
	p := &Page{bus: bus, group: config.Group, service: service, stop: stop, ended: make(chan error, 1)}
	go func() {
		p.ended <- service.Run(serving)
		close(p.ended)
	}()
	if err := p.await(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Addr is where the page is.
func (p *Page) Addr() string { return p.service.Addr() }

// await waits until the page is up.
func (p *Page) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	look := time.NewTicker(lookPause)
	defer look.Stop()
	for {
		if p.service.Ready(ctx) == nil {
			return nil
		}
		select {
		case <-look.C:
		case err := <-p.ended:
			return errors.Join(ErrEnded, err)
		case <-ctx.Done():
			return fmt.Errorf("wait for Nissa: %w", context.Cause(ctx))
		}
	}
}

// Stay waits until ctx is done, or the page has ended by itself.
func (p *Page) Stay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.ended:
		return errors.Join(ErrEnded, err)
	}
}

// Close ends Nissa and leaves the bus as if it had never been there.
func (p *Page) Close() error {
	p.stop()
	err := <-p.ended
	ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
	defer cancel()
	streams := oona.DefaultStreams()
	return errors.Join(err, p.bus.Admin().RemoveGroup(ctx, p.group, streams.Normal, streams.Telemetry, streams.Emergency), p.bus.Close())
}
