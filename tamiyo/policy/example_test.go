package policy_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
)

// ExampleStore_Accept takes an update in, and refuses one that was issued before it.
func ExampleStore_Accept() {
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
	now := time.Now()
	for _, update := range []*leyline.PolicyUpdate{
		{PolicyId: "careful", Version: 2, IssuedAt: timestamppb.New(now), Payload: []byte("weights")},
		{PolicyId: "careful", Version: 1, IssuedAt: timestamppb.New(now.Add(-time.Minute)), Payload: []byte("older weights")},
	} {
		fmt.Println("version", update.GetVersion(), "refused:", store.Accept(context.Background(), update, nil))
	}
	recent, known := store.Recent()
	newest := recent.Newest
	fmt.Println(newest.Metadata.GetPolicyId(), newest.Metadata.GetVersion(), newest.Size, known)
	// Output:
	// version 2 refused: <nil>
	// version 1 refused: policy update "careful" rejected: replayed_update
	// careful 2 7 true
}
