package main

import (
	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/look"
)

func newSeeds() *cobra.Command {
	seeds := &cobra.Command{Use: "seeds", Short: "Look at seeds"}
	seeds.AddCommand(look.SeedsList(), look.SeedsShow())
	return seeds
}

func newTrainers() *cobra.Command {
	trainers := &cobra.Command{Use: "trainers", Short: "Look at who trains"}
	trainers.AddCommand(look.TrainersList())
	return trainers
}

func newAlarms() *cobra.Command {
	alarms := &cobra.Command{Use: "alarms", Short: "Look at what is wrong"}
	alarms.AddCommand(look.AlarmsList())
	return alarms
}
