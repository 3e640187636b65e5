package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/leyline"
)

// tierFlag is a flag that takes a tier by its Leyline name, whole or without the prefix.
type tierFlag struct{ tier leyline.BlueprintTier }

const tierPrefix = "BLUEPRINT_TIER_"

func (f *tierFlag) bind(command *cobra.Command, usage string) {
	command.Flags().Var(f, "tier", usage+": safe, experimental or high_risk")
	tiers := []string{"safe", "experimental", "high_risk"}
	_ = command.RegisterFlagCompletionFunc("tier", cobra.FixedCompletions(tiers, cobra.ShellCompDirectiveNoFileComp)) // it is there
}

func (f *tierFlag) String() string {
	if f.tier == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(f.tier.String(), tierPrefix))
}

func (*tierFlag) Type() string { return "string" }

func (f *tierFlag) Set(text string) error {
	name := tierPrefix + strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(text, "-", "_")), tierPrefix)
	f.tier = leyline.BlueprintTier(leyline.BlueprintTier_value[name])
	if f.tier == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		return fmt.Errorf("%q is not a tier: safe, experimental or high_risk", text)
	}
	return nil
}
