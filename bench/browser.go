package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
)

const (
	rowInteractive = "nissa_page_interactive_ms"
	rowBrowserP50  = "nissa_browser_p50_ms"
	rowBrowserP99  = "nissa_browser_p99_ms"
)

func browserRows() []row {
	return []row{{rowInteractive, "ms", lower, nil}, {rowBrowserP50, "ms", lower, nil}, {rowBrowserP99, "ms", lower, nil}}
}

// measureBrowser takes how soon the page of a Nissa can be used, and how soon it shows what was told on the bus, in
// Debian's Chromium.
func measureBrowser(ctx context.Context, b *bench) (err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	nissa, err := b.startNissa(ctx, filepath.Join(b.folder, "browser"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nissa.quit()) }()
	_, port, err := net.SplitHostPort(b.redis.addr)
	if err != nil {
		return err
	}
	script := filepath.Join(root, "nissa", "internal", "page", "browser", "measure.mjs")
	for range b.runs {
		output, err := exec.CommandContext(ctx, "node", script, "http://"+nissa.httpAddr, port, secret,
			strconv.Itoa(b.pick(10, 2)), strconv.Itoa(b.pick(200, 20))).Output()
		if err != nil {
			return fmt.Errorf("drive the page (make browser installs what that needs): %w%s", err, saidBy(err))
		}
		var took struct{ Interactive, Event []float64 }
		if err := json.Unmarshal(output, &took); err != nil {
			return fmt.Errorf("times of the page: %w", err)
		}
		b.table.sample(rowInteractive, ours, quantile(took.Interactive, 0.5))
		b.table.sample(rowBrowserP50, ours, quantile(took.Event, 0.5))
		b.table.sample(rowBrowserP99, ours, quantile(took.Event, 0.99))
	}
	return nil
}

// saidBy is what a command wrote that failed.
func saidBy(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	return "\n" + string(exit.Stderr)
}
