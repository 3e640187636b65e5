package signing

import "google.golang.org/protobuf/encoding/protowire"

// Form is which of the two signed things bytes can be. Both are signed with one secret and
// nothing before them that would tell them apart, so their form must: no bytes are both.
type Form int

// The forms of bytes.
const (
	FormNeither  Form = iota
	FormEnvelope      // a BusEnvelope that tells its type, with the fields of one and no others
	FormCommand       // a field that no BusEnvelope has, as every command with a type and a time
)

// FormOf looks at the fields of serialised bytes.
func FormOf(raw []byte) Form {
	typed := false
	for len(raw) > 0 {
		number, wire, n := protowire.ConsumeField(raw)
		if n < 0 {
			return FormNeither
		}
		raw = raw[n:]
		own := number == 1 && wire == protowire.VarintType || (number == 2 || number == 3) && wire == protowire.BytesType
		if !own {
			return FormCommand
		}
		typed = typed || number == 1
	}
	if !typed {
		return FormNeither
	}
	return FormEnvelope
}
