package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/oona"
)

const (
	// watchPace is the pause after an epoch of a demo that is watched: nobody sees anything
	// of a network that grows in three seconds.
	watchPace = 100 * time.Millisecond
	// pageTimeout bounds the wait for the page.
	pageTimeout = 10 * time.Second
)

var errPageEnded = errors.New("the page has ended")

// page is a Nissa beside the demo.
type page struct {
	bus     *oona.Client
	group   string
	service *nissa.Service
	stop    context.CancelFunc
	ended   chan error
}

// openPage starts Nissa in a group of the demo's own, so that it takes nothing from another.
func (d *demo) openPage(ctx context.Context) (*page, error) {
	group := "esper-" + d.name + "-nissa"
	logger := process.NewLogger(os.Stderr, slog.LevelWarn)
	bus, err := oona.Connect(ctx, oona.Config{
		URL: d.service.BusURL(), Group: group, Consumer: d.name + "-nissa", Keyring: d.keyring, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("join the bus: %w", err)
	}
	service, err := nissa.New(nissa.Config{
		Bus: bus, HTTPAddr: string(d.settings.Nissa.HTTPAddr), Group: group,
		Store: nissa.Store{URL: d.settings.Nissa.DatabaseURL.Reveal()}, Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(err, bus.Close())
	}
	// It outlives what is done in the service, and ends by close.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &page{bus: bus, group: group, service: service, stop: stop, ended: make(chan error, 1)}
	go func() {
		p.ended <- service.Run(serving)
		close(p.ended)
	}()
	if err := p.await(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	d.screen.page(service.Addr())
	return p, nil
}

// await waits until the page is up.
func (p *page) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	look := time.NewTicker(settlePause)
	defer look.Stop()
	for {
		if addr := p.service.Addr(); addr != "" && answersReady(ctx, client, addr) {
			return nil
		}
		select {
		case <-look.C:
		case err := <-p.ended:
			return errors.Join(errPageEnded, err)
		case <-ctx.Done():
			return fmt.Errorf("wait for Nissa: %w", context.Cause(ctx))
		}
	}
}

func answersReady(ctx context.Context, client *http.Client, addr string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

// stay waits until somebody ends the demo, or Nissa does.
func (p *page) stay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.ended:
		return errors.Join(errPageEnded, err)
	}
}

// close ends Nissa and leaves the bus as if it had never been there.
func (p *page) close() error {
	p.stop()
	err := <-p.ended
	ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
	defer cancel()
	streams := oona.DefaultStreams()
	return errors.Join(err, p.bus.Admin().RemoveGroup(ctx, p.group, streams.Normal, streams.Telemetry, streams.Emergency), p.bus.Close())
}
