package karn_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

// A choice is a function of its query: the same tier and context always choose
// the same blueprint, in every process.
func ExampleCatalog_Select() {
	request := karn.Request{Query: karn.Query{Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Context: "run-7/trunk"}}
	first, err := karn.NewCatalog().Select(context.Background(), request)
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := karn.NewCatalog().Select(context.Background(), request)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(first.GetBlueprintId() == again.GetBlueprintId())
	// Output: true
}

// Parameters are held to the bounds that the descriptor declares.
func ExampleParameterError() {
	_, err := karn.NewCatalog().Select(context.Background(), karn.Request{
		BlueprintID: "BP001", Parameters: map[string]float64{"width": 3},
	})
	if fault, ok := errors.AsType[*karn.ParameterError](err); ok {
		fmt.Println(fault.Parameter, fault.Err)
	}
	// Output: width not declared by the blueprint
}
