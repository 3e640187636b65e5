package tamiyo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// identify derives an identifier in the form of a UUID from the report that is
// evaluated and what it is for: whoever evaluates that report again, anywhere,
// names things alike.
func (e *evaluation) identify(purpose ...string) string {
	r := e.record
	texts := []string{r.Run, r.Trainer, decimal(r.Number)}
	if r.Trainer == "" {
		texts = append(texts, decimal(uint64(r.Epoch)), decimal(r.Timestamp), e.state.Packet.GetPacketId())
	}
	return uuid.NewHash(sha256.New(), uuid.NameSpaceOID, joined(append(texts, purpose...)), 8).String()
}

// seedID names a seed that is about to be asked for. It says the run and the
// blueprint to a reader, and differs between any two germinations. It has at
// most 120 bytes, as trainers take no more than 128.
func (r *Record) seedID(slot, blueprintID string) string {
	const tag = 8
	number := decimal(r.Number)
	sum := sha256.Sum256(joined([]string{r.Run, r.Trainer, number, slot, blueprintID}))
	return strings.Join([]string{
		"seed", readable(r.Run), number, hex.EncodeToString(sum[:])[:tag], readable(blueprintID),
	}, "-")
}

// readable is a name as part of another: itself, or its digest when it is long
// or odd.
func readable(name string) string {
	const longest = 40
	if len(name) <= longest && isWord(name) {
		return name
	}
	return digest(name)
}

// digest is the short form of a name that is only ever compared.
func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:6])
}

// joined are the texts, told apart by their lengths.
func joined(texts []string) []byte {
	data := make([]byte, 0, 256)
	for _, text := range texts {
		data = binary.AppendUvarint(data, uint64(len(text)))
		data = append(data, text...)
	}
	return data
}

func decimal(number uint64) string { return strconv.FormatUint(number, 10) }
