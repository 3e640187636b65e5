package demo

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/nissaconfig"
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
		HTTP: nissaconfig.HTTP(d.settings.Nissa), Store: nissa.Store{URL: d.settings.Nissa.DatabaseURL.Reveal()},
		Alerts: !d.options.join, // others on a bus hear of what is wrong there by a Nissa of theirs
		Logger: process.NewLogger(os.Stderr, slog.LevelWarn),
	})
	if err == nil {
		d.screen.page(d.pageURL(page))
	}
	return page, err
}

// pageURL is where a browser finds it.
func (d *demo) pageURL(page *observe.Page) string {
	return d.settings.Nissa.Listener().Scheme() + "://" + page.Addr()
}
