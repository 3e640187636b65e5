package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
)

// house is the data folder and the HTTP side.
type house struct {
	*foundation
	crew

	lock   *datadir.Lock
	outbox *outbox.Outbox
	http   *httpserver.Worker // nil when it is off
}

// openHouse takes the data folder and opens the HTTP side, not ready yet, so
// that an operator can watch the boot.
func openHouse(ctx context.Context, f *foundation, handler func(listener net.Addr) http.Handler) (*house, error) {
	f.logger.Info("settings", "settings", f.settings)
	lock, err := datadir.Take(f.settings.Weatherlight.DataDir)
	if err != nil {
		return nil, err
	}
	box, err := outbox.Open(ctx, outbox.Config{File: assembly.OutboxFile(f.settings), Logger: f.logger.With("part", "outbox")})
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	h := &house{foundation: f, lock: lock, outbox: box}
	if err := h.listen(ctx, handler); err != nil {
		return nil, errors.Join(err, h.close(ctx))
	}
	return h, nil
}

func (h *house) listen(ctx context.Context, handler func(listener net.Addr) http.Handler) error {
	address := string(h.settings.Weatherlight.HTTPAddr)
	if address == "" {
		return nil
	}
	server, err := httpserver.Listen(ctx, address)
	if err != nil {
		return fmt.Errorf("listen on WEATHERLIGHT_HTTP_ADDR %s: %w", address, err)
	}
	h.http = server.Serve(handler(server.Addr()), h.logger)
	h.crew = h.newCrew(supervise.Spec{Name: workerHTTP, Worker: h.http})
	return nil
}

func (h *house) close(ctx context.Context) error {
	err := h.supervisor.Stop(ctx)
	if h.http != nil {
		err = errors.Join(err, h.http.Close())
	}
	return errors.Join(err, h.outbox.Close(), h.lock.Release())
}

// addr is the address that the HTTP side listens on, or "off".
func (h *house) addr() string {
	if h.http == nil {
		return "off"
	}
	return h.http.Addr().String()
}

// advertisedURL is where trainers reach the kernels, or empty when they are served
// nowhere.
func (h *house) advertisedURL() string {
	var address net.Addr
	if h.http != nil {
		address = h.http.Addr()
	}
	return httpapi.Advertised(h.settings.Weatherlight.AdvertiseURL.Reveal(), address)
}

// warnLocalOnly returns what warns, once, when a trainer fetches kernels by http alone,
// which is meant to run on another machine, and other machines cannot follow the URLs.
func (h *house) warnLocalOnly() func(trainer.Report) {
	warn := sync.OnceFunc(func() {
		if url := h.advertisedURL(); httpapi.LocalOnly(url) {
			h.logger.Warn("a trainer fetches kernels by http, and only this machine reaches where they are: set WEATHERLIGHT_ADVERTISE_URL",
				"url", url)
		}
	})
	return func(report trainer.Report) {
		access := report.KernelAccess
		if slices.Contains(access, graft.AccessHTTP) && !slices.Contains(access, graft.AccessPath) {
			warn()
		}
	}
}
