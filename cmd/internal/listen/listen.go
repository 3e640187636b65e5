// Package listen says to services what settings say of where they answer. [Nissa] does so to Nissa, for
// all commands that run one.
package listen

import (
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/settings"
)

// Nissa is where Nissa answers, and whom.
func Nissa(listener settings.Listener) nissa.HTTP {
	return nissa.HTTP{
		Addr: string(listener.Addr), Tokens: listener.Tokens, CertFile: listener.CertFile, KeyFile: listener.KeyFile,
	}
}
