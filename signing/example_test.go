package signing_test

import (
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/signing"
)

// A secret is rotated while messages are in flight: the previous one is still
// accepted, and forgotten by the next rotation.
func ExampleKeyring_Rotate() {
	keyring, err := signing.NewKeyring("spring")
	if err != nil {
		fmt.Println(err)
		return
	}
	envelope := []byte("a serialised BusEnvelope")
	signature := keyring.SignEnvelope(envelope)

	fmt.Println("rotate:", keyring.Rotate("summer", "spring"))
	fmt.Println("in flight:", keyring.VerifyEnvelope(envelope, signature))
	fmt.Println("rotate:", keyring.Rotate("autumn", "summer"))
	err = keyring.VerifyEnvelope(envelope, signature)
	fmt.Println("too late:", errors.Is(err, signing.ErrInvalidSignature))
	// Output:
	// rotate: <nil>
	// in flight: <nil>
	// rotate: <nil>
	// too late: true
}
