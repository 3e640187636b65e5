package journal_test

import (
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
)

// ExampleRead writes what a store keeps of a policy into a folder, and reads it again.
func ExampleRead() {
	folder, err := os.MkdirTemp("", "policies-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	at := time.Unix(1_800_000_000, 0)
	update := &leyline.PolicyUpdate{PolicyId: "careful", Version: 1, IssuedAt: timestamppb.New(at), Payload: []byte("weights")}
	if err := (journal.Journal{}).Accept(accepted.New(update, at)).Write(folder); err != nil {
		fmt.Println(err)
		return
	}
	kept, err := journal.Read(folder)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(kept.Newest().Metadata.GetPolicyId(), len(kept.Digests()), kept.Newer(update))
	// Output: careful 1 false
}

// ExampleAction_Attributes has a policy asked in the shadow, by the attributes of an envelope.
func ExampleAction_Attributes() {
	action, digest, asked := journal.ReadAction(journal.ToShadow.Attributes("0123abcd"))
	fmt.Println(action, digest, asked)
	// Output: shadow 0123abcd true
}
