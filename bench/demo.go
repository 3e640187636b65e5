package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
)

func demoRows() []row {
	return []row{{"demo_duration_s", "s", lower, nil}}
}

// measureDemo grows a network through the whole system.
func measureDemo(ctx context.Context, b *bench) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	return b.interleave([]turn{{ours, func(column string) error {
		command := exec.CommandContext(ctx, b.tools.control, "demo", "--json", "--seed", "1")
		command.Dir = b.folder
		var complaint bytes.Buffer
		command.Stderr = &complaint
		output, err := command.Output()
		if err != nil {
			return fmt.Errorf("run demo: %w\n%s", err, complaint.Bytes())
		}
		var report struct {
			DurationS float64 `json:"duration_s"`
		}
		if err := json.Unmarshal(output, &report); err != nil {
			return fmt.Errorf("read report of demo: %w", err)
		}
		b.table.sample("demo_duration_s", column, report.DurationS)
		return nil
	}}}, func() error { return nil })
}
