package accepted_test

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
)

// ExamplePosition_Compare orders updates of several policies: which was issued later counts, and
// not whose version is higher.
func ExamplePosition_Compare() {
	at := time.Unix(1_800_000_000, 0)
	former := accepted.PositionOf(&leyline.PolicyUpdate{PolicyId: "bold", Version: 9, IssuedAt: timestamppb.New(at)})
	later := accepted.PositionOf(&leyline.PolicyUpdate{PolicyId: "careful", Version: 1, IssuedAt: timestamppb.New(at.Add(time.Second))})
	fmt.Println(former.Compare(later) < 0, later.Compare(former) < 0)
	// Output: true false
}
