package trainer_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// ExampleReadOrder reads an order as a trainer finds it on the stream of its run.
func ExampleReadOrder() {
	command := trainer.Order{
		Kind: trainer.Drop, Run: "digits-1", TrainerID: "trainer-7", Number: 3, Seed: "seed-1", Blueprint: "BP021", Slot: "hidden",
		Stage: leyline.SeedLifecycleStage_SEED_STAGE_CULLED, Reason: "not better than host",
	}.Command()
	order, err := trainer.ReadOrder(command)
	fmt.Println(trainer.Stream("digits-1"), err)
	fmt.Println(order.Number, order.Kind, order.Seed, order.Reason)
	// Output:
	// oona.run.digits-1 <nil>
	// 3 drop seed-1 not better than host
}
