package demo

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/observe"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/nissa"
)

// watchPace is the pause after an epoch of a demo that is watched: nobody sees anything
// of a network that grows in three seconds.
const watchPace = 100 * time.Millisecond

// openPage starts Nissa beside the demo.
func (d *demo) openPage(ctx context.Context) (*observe.Page, error) {
	page, err := observe.Open(ctx, observe.Config{
		Bus: d.service.BusURL(), Keyring: d.keyring, Group: "esper-" + d.name + "-nissa",
		HTTPAddr: string(d.settings.Nissa.HTTPAddr), Store: nissa.Store{URL: d.settings.Nissa.DatabaseURL.Reveal()},
		Logger: process.NewLogger(os.Stderr, slog.LevelWarn),
	})
	if err == nil {
		d.screen.page(page.Addr())
	}
	return page, err
}
