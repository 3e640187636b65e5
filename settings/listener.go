package settings

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// minToken is how many letters a bearer token has at least.
const minToken = 16

var (
	errToken       = fmt.Errorf("must be at least %d visible ASCII letters without blanks", minToken)
	errTokenFile   = fmt.Errorf("must hold tokens, one a line, each of at least %d visible ASCII letters without blanks", minToken)
	errNoAuthority = errors.New("holds no certificate in PEM")
	errAlone       = errors.New("is not set: a certificate and its key belong together")
)

// validate asks nothing of the files: only who listens can read them.
func (l Listener) validate(env string, faults *Faults) {
	if token := l.Token.Reveal(); token != "" && !isToken(token) {
		faults.add(env+"_TOKEN", errToken) // never repeated
	}
	if l.CertFile == "" && l.KeyFile != "" {
		faults.add(env+"_TLS_CERT_FILE", errAlone)
	}
	if l.KeyFile == "" && l.CertFile != "" {
		faults.add(env+"_TLS_KEY_FILE", errAlone)
	}
}

func isToken(text string) bool {
	hidden := func(r rune) bool { return r <= ' ' || r > '~' }
	return len(text) >= minToken && !strings.ContainsFunc(text, hidden)
}

// Tokens are those that let in, as they are now: the file is read by each call. The first is
// the one that is sent. An error says nothing of what is in the file.
func (l Listener) Tokens() ([]string, error) {
	var tokens []string
	if l.TokenFile != "" {
		filed, err := readSecrets(l.TokenFile)
		if err != nil {
			return nil, err
		}
		for _, token := range filed {
			if !isToken(token) {
				return nil, errTokenFile
			}
		}
		tokens = filed
	}
	if token := l.Token.Reveal(); token != "" {
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// Scheme is that by which it answers.
func (l Listener) Scheme() string {
	if l.CertFile != "" {
		return "https"
	}
	return "http"
}

// Trust is how Weatherlight and Nissa are asked by HTTPS: the authorities of the machine may have
// signed their certificates, and those of the file. Without one the machine's are read when a
// certificate is looked at first; most services are asked without any.
func (w Weatherlight) Trust() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if w.CAFile == "" {
		return config, nil
	}
	text, err := regularfile.Read(w.CAFile, maxSecretFile)
	if err != nil {
		return nil, err
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool() // a machine without any
	}
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, errNoAuthority
	}
	return config, nil
}
