package trainer

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

// StreamPrefix is what the order stream of every run begins with.
const StreamPrefix = "oona.run."

var plainRun = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// Stream is the stream on which a run's orders travel. A run id that is no
// plain word of at most 128 characters is named by its SHA-256 in hexadecimal.
func Stream(run string) string {
	if plainRun.MatchString(run) {
		return StreamPrefix + run
	}
	sum := sha256.Sum256([]byte(run))
	return StreamPrefix + hex.EncodeToString(sum[:])
}
