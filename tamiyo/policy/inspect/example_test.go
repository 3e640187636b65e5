package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/inspect"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
)

// ExampleFolder lists what a store keeps, and asks whether it could decide.
func ExampleFolder() {
	folder, err := os.MkdirTemp("", "policies-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	store, err := policy.Open(policy.Config{Dir: folder})
	if err != nil {
		fmt.Println(err)
		return
	}
	update := &leyline.PolicyUpdate{PolicyId: "careful", Version: 1, IssuedAt: timestamppb.New(time.Now()), Payload: []byte("a pickle")}
	if err := store.Accept(context.Background(), update, nil); err != nil {
		fmt.Println(err)
		return
	}
	kept, err := inspect.Folder(folder)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, one := range kept {
		fmt.Println(one.Metadata.GetPolicyId(), one.Roles, errors.Is(inspect.Usable(folder, one), network.ErrUnusable))
	}
	// Output: careful [newest] true
}
