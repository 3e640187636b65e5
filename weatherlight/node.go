package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// node is what a service has of its own: its data folder and its HTTP side.
type node struct {
	*foundation
	crew

	lock   *datadir.Lock
	outbox *outbox.Outbox
	http   *httpserver.Worker // nil when it is off
}

// openNode takes the data folder and opens the HTTP side, not ready yet, so
// that an operator can watch the boot.
func openNode(ctx context.Context, f *foundation, handler func(httpserver.Guard) http.Handler) (*node, error) {
	f.logger.Info("settings", "settings", f.settings)
	listener := httpapi.Listener(f.settings.Weatherlight.Listener())
	if err := listener.Check(ctx); err != nil {
		return nil, err
	}
	f.warn(preflight.OpenFiles())
	lock, err := datadir.Take(f.settings.Weatherlight.DataDir, f.settings.Tamiyo.ReportFolder())
	if err != nil {
		return nil, fmt.Errorf("WEATHERLIGHT_DATA_DIR, and the folder above TAMIYO_POLICY_DIR: %w", err)
	}
	box, err := outbox.Open(ctx, outbox.Config{File: f.settings.Weatherlight.OutboxFile(), Logger: f.logger.With("part", "outbox")})
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	n := &node{foundation: f, lock: lock, outbox: box}
	if err := n.listen(ctx, listener, handler); err != nil {
		return nil, errors.Join(err, n.close(ctx))
	}
	return n, nil
}

func (n *node) listen(ctx context.Context, config httpserver.Config, handler func(httpserver.Guard) http.Handler) error {
	if config.Addr == "" {
		return nil
	}
	server, err := httpserver.Listen(ctx, config, n.logger)
	if err != nil {
		return fmt.Errorf("listen on WEATHERLIGHT_HTTP_ADDR %s: %w", config.Addr, err)
	}
	if warning := server.Warning(); warning != "" {
		n.logger.Warn(warning)
	}
	n.http = server.Serve(handler(server.Guard()))
	n.crew = n.newCrew(supervise.Spec{Name: workerHTTP, Worker: n.http})
	return nil
}

func (n *node) close(ctx context.Context) error {
	err := n.supervisor.Stop(ctx)
	if n.http != nil {
		err = errors.Join(err, n.http.Close())
	}
	return errors.Join(err, n.outbox.Close(), n.lock.Release())
}

// addr is the address that the HTTP side listens on, or "off".
func (n *node) addr() string {
	if n.http == nil {
		return "off"
	}
	return n.http.Addr().String()
}

// advertisedURL is where trainers reach the kernels, or empty when they are served
// nowhere.
func (n *node) advertisedURL() string {
	configured := n.settings.Weatherlight.AdvertiseURL.Reveal()
	if n.http == nil {
		return httpapi.Advertised(configured, "", nil)
	}
	return httpapi.Advertised(configured, n.http.Scheme(), n.http.Addr())
}

// warnLocalOnly returns what warns, once, when a trainer fetches kernels by http alone,
// which is meant to run on another machine, and other machines cannot follow the URLs.
func (n *node) warnLocalOnly() func(run string, report trainer.Report) {
	warn := sync.OnceFunc(func() {
		if url := n.advertisedURL(); httpapi.LocalOnly(url) {
			n.logger.Warn("a trainer fetches kernels by http, and only this machine reaches where they are: set WEATHERLIGHT_ADVERTISE_URL",
				"url", url)
		}
	})
	return func(_ string, report trainer.Report) {
		access := report.KernelAccess
		if slices.Contains(access, graft.AccessHTTP) && !slices.Contains(access, graft.AccessPath) {
			warn()
		}
	}
}
