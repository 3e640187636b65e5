// Package nissaconfig says to Nissa what all commands that run one say: [HTTP] where it answers, and [Points]
// what metric points mean.
package nissaconfig

import (
	"slices"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/telemetry"
)

// HTTP is where Nissa answers, and whom.
func HTTP(of settings.Nissa) nissa.HTTP {
	listener := of.Listener()
	return nissa.HTTP{
		Addr: string(listener.Addr), Tokens: listener.Tokens, CertFile: listener.CertFile, KeyFile: listener.KeyFile,
	}
}

// Points are those of packets about runs and seeds.
func Points() []telemetry.Series { return slices.Concat(kasmina.PacketSeries(), tamiyo.PacketSeries()) }
