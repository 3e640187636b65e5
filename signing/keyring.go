package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
	"sync"
	"sync/atomic"
)

// Errors that a caller can act on. A hostile signature of any form (not ASCII,
// not base64, of the wrong length) is ErrInvalidSignature, never more.
var (
	ErrNoSecret         = errors.New("signing secret is missing or blank")
	ErrMissingSignature = errors.New("signature is missing")
	ErrInvalidSignature = errors.New("signature is invalid")
)

// keyIDDomain separates the public key identifier from every signed message.
const keyIDDomain = "weatherlight key id"

// Keyring signs with the current secret and accepts that one and any previous
// ones, so that a secret can be rotated while messages are in flight. It is
// safe for concurrent use; everything that holds it sees a rotation at once.
type Keyring struct {
	secrets atomic.Pointer[secrets]
}

// secrets is one state of a keyring; it never changes.
type secrets struct {
	keys []*key   // the current one first
	ids  []string // their short public names
}

// key holds one secret as reusable MAC states: setting up an HMAC costs as much
// as signing a short message with it.
type key struct {
	macs sync.Pool
}

// macState is one MAC and the room for its result.
type macState struct {
	mac    hash.Hash
	digest [sha256.Size]byte
}

func newKey(secret string) *key {
	return &key{macs: sync.Pool{New: func() any { return &macState{mac: hmac.New(sha256.New, []byte(secret))} }}}
}

// NewKeyring returns a keyring that signs with current. Blank previous secrets
// are left out. It fails with ErrNoSecret when current is blank.
func NewKeyring(current string, previous ...string) (*Keyring, error) {
	ring := new(Keyring)
	if err := ring.Rotate(current, previous...); err != nil {
		return nil, err
	}
	return ring, nil
}

// Rotate replaces all secrets at once. It fails with ErrNoSecret when current
// is blank, and then changes nothing.
//
// No message is refused when a new secret reaches every process in three steps:
// first as a previous one, then as the current one with the old one previous,
// and at last alone, when nothing signed with the old one is under way.
func (k *Keyring) Rotate(current string, previous ...string) error {
	if strings.TrimSpace(current) == "" {
		return ErrNoSecret
	}
	next := &secrets{keys: []*key{newKey(current)}, ids: []string{keyID(current)}}
	for _, secret := range previous {
		if strings.TrimSpace(secret) != "" {
			next.keys, next.ids = append(next.keys, newKey(secret)), append(next.ids, keyID(secret))
		}
	}
	k.secrets.Store(next)
	return nil
}

// KeyID is a short public name of the current secret: eight hex digits that
// reveal nothing about it.
func (k *Keyring) KeyID() string { return k.secrets.Load().ids[0] }

// KeyIDs are the short public names of all secrets, the current one first.
func (k *Keyring) KeyIDs() []string { return k.secrets.Load().ids }

// Signer is the current secret of a moment: what names the key in a message and
// what signs that message stay one, whatever is rotated in between.
type Signer struct{ secrets *secrets }

// Signer returns the current secret as it is now.
func (k *Keyring) Signer() Signer { return Signer{k.secrets.Load()} }

// KeyID is the short public name of the secret.
func (s Signer) KeyID() string { return s.secrets.ids[0] }

// SignEnvelope is Keyring.SignEnvelope with this secret.
func (s Signer) SignEnvelope(envelope []byte) string { return s.secrets.keys[0].sign(envelope) }

// AppendSignature appends to dst what SignEnvelope returns.
func (s Signer) AppendSignature(dst, envelope []byte) []byte {
	return s.secrets.keys[0].appendSignature(dst, envelope)
}

func keyID(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(keyIDDomain))
	return hex.EncodeToString(mac.Sum(nil)[:4])
}

// SignEnvelope returns the signature text of a serialised BusEnvelope: 44
// characters that travel in the entry field "signature".
func (k *Keyring) SignEnvelope(envelope []byte) string { return k.sign(envelope) }

// VerifyEnvelope checks the signature of envelope over the bytes as received.
// It returns nil, ErrMissingSignature or ErrInvalidSignature.
func (k *Keyring) VerifyEnvelope(envelope []byte, signature string) error {
	return k.verify(envelope, signature)
}

func (k *Keyring) sign(message []byte) string { return k.secrets.Load().keys[0].sign(message) }

func (k *key) sign(message []byte) string {
	var text [44]byte
	return string(k.appendSignature(text[:0], message))
}

func (k *key) appendSignature(dst, message []byte) []byte {
	state := k.sum(message)
	defer k.macs.Put(state)
	return base64.StdEncoding.AppendEncode(dst, state.digest[:])
}

func (k *Keyring) verify(message []byte, signature string) error {
	if signature == "" {
		return ErrMissingSignature
	}
	claimed, ok := decodeSignature(signature)
	if !ok {
		return ErrInvalidSignature
	}
	for _, key := range k.secrets.Load().keys {
		if key.matches(message, &claimed) {
			return nil
		}
	}
	return ErrInvalidSignature
}

// decodeSignature accepts only the one canonical text of a 32-byte digest, so
// that a signature has no second spelling.
func decodeSignature(text string) (digest [sha256.Size]byte, ok bool) {
	if len(text) != base64.StdEncoding.EncodedLen(sha256.Size) {
		return digest, false
	}
	var buffer [sha256.Size + 1]byte
	n, err := base64.StdEncoding.Strict().Decode(buffer[:], []byte(text))
	if err != nil || n != sha256.Size {
		return digest, false
	}
	copy(digest[:], buffer[:])
	return digest, true
}

func (k *key) matches(message []byte, claimed *[sha256.Size]byte) bool {
	state := k.sum(message)
	defer k.macs.Put(state)
	return hmac.Equal(state.digest[:], claimed[:])
}

// sum returns the digest in a state that is to be put back.
func (k *key) sum(message []byte) *macState {
	state, _ := k.macs.Get().(*macState) // the pool holds nothing else
	state.mac.Reset()
	state.mac.Write(message)
	state.mac.Sum(state.digest[:0])
	return state
}
