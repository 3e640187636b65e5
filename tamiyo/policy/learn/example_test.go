package learn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/esper-lite/weatherlight/tamiyo/policy/learn"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
)

// ExampleGather reads what Nissa exports of runs and fits a policy to it. Nothing is recorded
// here, from which no policy is made.
func ExampleGather() {
	runs, err := transcript.ReadRuns(strings.NewReader(""))
	if err != nil {
		fmt.Println(err)
		return
	}
	data := learn.Gather(runs)
	policy, verdict, err := data.Fit(context.Background(), 1)
	fmt.Println(data.Runs, data.Decisions, len(policy), verdict.Beats(), errors.Is(err, learn.ErrTooLittle))
	// Output: 0 0 0 false true
}
