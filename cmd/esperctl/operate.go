package main

import (
	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/act"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
)

func newRuns() *cobra.Command {
	runs := &cobra.Command{Use: "runs", Short: "Look at training runs"}
	runs.AddCommand(look.RunsList(), look.RunsShow(), look.RunsFollow(), look.RunsExport(), newRunsReplay())
	return runs
}

func newSeeds() *cobra.Command {
	seeds := &cobra.Command{Use: "seeds", Short: "Look at seeds, and act on them"}
	seeds.AddCommand(look.SeedsList(), look.SeedsShow())
	seeds.AddCommand(act.Seeds(withKeyring, look.CompleteSeeds)...)
	return seeds
}

func newTrainers() *cobra.Command {
	trainers := &cobra.Command{Use: "trainers", Short: "Look at who trains"}
	trainers.AddCommand(look.TrainersList())
	return trainers
}

func newAlarms() *cobra.Command {
	alarms := &cobra.Command{Use: "alarms", Short: "Look at what is wrong, and take it up"}
	alarms.AddCommand(look.AlarmsList(), act.AlarmsAck())
	return alarms
}
