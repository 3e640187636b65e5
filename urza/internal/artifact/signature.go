package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"aead.dev/minisign"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// signatureExtension names the file beside an artifact that holds its signature.
const signatureExtension = ".minisig"

// maxSignature is far above the size of any minisign signature.
const maxSignature = 8 << 10

// maxKey bounds the file of a signing key, which has a few lines.
const maxKey = 8 << 10

// signer signs artifacts; the nil signer signs nothing.
type signer struct{ key minisign.PrivateKey }

func newSigner(keyFile, password string) (*signer, error) {
	if keyFile == "" {
		return nil, nil //nolint:nilnil // no key is no signer
	}
	text, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(text, password)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", fault.ErrSigningKey, keyFile, err)
	}
	return &signer{key}, nil
}

func readKey(file string) ([]byte, error) {
	text, err := regularfile.ReadSecret(file, maxKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrSigningKey, err)
	}
	return text, nil
}

// CheckSigningKey says what is wrong with the signing key of the configuration. A
// password is not tried: that is made to take seconds.
func (c Config) CheckSigningKey() error {
	if c.SigningKeyFile == "" {
		return nil
	}
	text, err := readKey(c.SigningKeyFile)
	if err != nil || minisign.IsEncrypted(text) && c.SigningKeyPassword != "" {
		return err
	}
	return c.TrySigningKey()
}

// TrySigningKey is CheckSigningKey with the password.
func (c Config) TrySigningKey() error {
	_, err := newSigner(c.SigningKeyFile, c.SigningKeyPassword)
	return err
}

// CheckTrustedKeys says what is wrong with the trusted keys of the configuration.
func (c Config) CheckTrustedKeys() error {
	_, err := newTrust(c.TrustedKeys)
	return err
}

func decodeKey(text []byte, password string) (key minisign.PrivateKey, err error) {
	if !minisign.IsEncrypted(text) {
		return key, key.UnmarshalText(text)
	}
	if password == "" {
		return key, errors.New("is protected by a password, and none was given")
	}
	return minisign.DecryptKey(password, text)
}

// sign returns the signature of an artifact. It is over the BLAKE2b hash, so that a
// reader can verify it without holding the artifact in memory.
func (s *signer) sign(content []byte, sum string) []byte {
	reader := minisign.NewReader(bytes.NewReader(content))
	_, _ = io.Copy(io.Discard, reader) // a reader of bytes does not fail
	return reader.SignWithComments(s.key, "sha256:"+sum, "signed by the Esper-Lite kernel library")
}

// trust holds the keys whose signatures count; the empty trust asks for none.
type trust []minisign.PublicKey

func newTrust(keys []string) (trust, error) {
	var trusted trust
	for _, text := range keys {
		key, err := publicKey(text)
		if err != nil {
			return nil, err
		}
		trusted = append(trusted, key)
	}
	return trusted, nil
}

// publicKey reads a key, or the file that holds one.
func publicKey(text string) (minisign.PublicKey, error) {
	var key minisign.PublicKey
	if key.UnmarshalText([]byte(text)) == nil {
		return key, nil
	}
	content, err := regularfile.ReadSecret(text, maxKey)
	if err == nil && key.UnmarshalText(content) != nil {
		err = fmt.Errorf("%s holds none", text)
	}
	if err != nil { // it may be a secret that was written there by mistake
		return key, fmt.Errorf("a trusted key is no minisign public key and no file with one: %w", err)
	}
	return key, nil
}

// verify reports whether a trusted key made the signature of what the reader read.
func (t trust) verify(message *minisign.Reader, signature []byte) bool {
	for _, key := range t {
		if message.Verify(key, signature) {
			return true
		}
	}
	return false
}

func readSignature(file io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(file, maxSignature))
	return bytes.TrimSpace(text), err
}
