package payloads_test

import (
	"fmt"
	"os"

	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

// ExampleReferTo refers to a payload in the attributes of an envelope, and finds it in a folder
// by what it reads from them.
func ExampleReferTo() {
	folder, err := os.MkdirTemp("", "policies-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	if err := os.Mkdir(payloads.Folder(folder), 0o700); err != nil {
		fmt.Println(err)
		return
	}
	payload := []byte("weights")
	if err := payloads.Keep(folder, payloads.Digest(payload), payload); err != nil {
		fmt.Println(err)
		return
	}
	reference, refers, err := payloads.Refer(payloads.ReferTo(payload).Attributes())
	if err != nil || !refers {
		fmt.Println(refers, err)
		return
	}
	found, err := payloads.Read(folder, reference.Checksum, int64(reference.Size))
	fmt.Println(string(found), err)
	// Output: weights <nil>
}
