package karn_test

import (
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

// A choice is a function of its query: the same tier and context always choose
// the same blueprint, in every process.
func ExampleCatalog_Choose() {
	catalog := karn.NewCatalog()
	query := karn.Query{Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Context: "run-7/trunk"}
	first, err := catalog.Choose(query, karn.Grant{})
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := karn.NewCatalog().Choose(query, karn.Grant{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(first.GetBlueprintId() == again.GetBlueprintId())
	// Output: true
}

// Parameters are held to the bounds that the descriptor declares.
func ExampleCatalog_Validate() {
	catalog := karn.NewCatalog()
	err := catalog.Validate("BP001", map[string]float64{"width": 3})
	var refused *karn.ParameterError
	fmt.Println(errors.As(err, &refused))
	_, err = catalog.Get("BP099")
	fmt.Println(errors.Is(err, karn.ErrUnknownBlueprint))
	// Output:
	// true
	// true
}
