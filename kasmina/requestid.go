package kasmina

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// requestPrefix begins the id of every kernel request of ours.
const requestPrefix = "prefetch-"

// requestName is what the id of a kernel request says. Peers echo nothing of a
// request but its id, so it holds where the answer belongs:
// prefetch-<run>.<seed>.<nonce>.<attempt>, the names in base64url.
type requestName struct {
	run, seed string
	nonce     int64
	attempt   int // from 1
}

func (n requestName) String() string {
	return requestPrefix + base64.RawURLEncoding.EncodeToString([]byte(n.run)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(n.seed)) + "." +
		strconv.FormatInt(n.nonce, 36) + "." + strconv.Itoa(n.attempt)
}

func readRequestName(id string) (requestName, bool) {
	text, ours := strings.CutPrefix(id, requestPrefix)
	if !ours || len(text) > 4*maxIDLength {
		return requestName{}, false
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return requestName{}, false
	}
	run, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	seed, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	nonce, err3 := strconv.ParseInt(parts[2], 36, 64)
	attempt, err4 := strconv.Atoi(parts[3])
	if errors.Join(err1, err2, err3, err4) != nil || attempt < 1 || len(run) == 0 || len(seed) == 0 {
		return requestName{}, false
	}
	return requestName{run: string(run), seed: string(seed), nonce: nonce, attempt: attempt}, true
}

// RunOfRequest is the run whose seed asked for a kernel by this request. It
// reports false for a request that is not ours.
func RunOfRequest(requestID string) (run string, ok bool) {
	name, ok := readRequestName(requestID)
	return name.run, ok
}

// RunOfCommand is the run that a command is for, empty when it names none.
func RunOfCommand(command *leyline.AdaptationCommand) string {
	return strings.TrimSpace(command.GetAnnotations()[trainer.AnnotationRun])
}
