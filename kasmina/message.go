package kasmina

import (
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Message is what a decision is made on: a Report, Command, Ready, Refusal,
// Emergency or Tick.
type Message interface{ message() }

// Report is a state packet of a trainer. Without Protocol it comes from one that
// only reports, and Report is empty.
type Report struct {
	Packet   *leyline.SystemStatePacket
	Report   trainer.Report
	Protocol bool

	Issued time.Time // when the envelope was signed; zero: it does not say
	Stored time.Time // when the bus took it; zero: just now
}

// Command is a command that Core.Verify found good.
type Command struct{ Command *leyline.AdaptationCommand }

// Ready announces a kernel, with the attributes of its envelope.
type Ready struct {
	Ready      *leyline.KernelArtifactReady
	Attributes map[string]string
}

// Refusal is the library's word that it has no such kernel.
type Refusal struct{ Refusal *leyline.KernelArtifactError }

// Emergency is an emergency signal. From CONSERVATIVE on it pauses the run's
// seeds, HALT stops the training; it acts once for each ID.
type Emergency struct {
	Level  leyline.EmergencyLevel
	Reason string
	Origin string
	ID     string
}

// Tick says that time has passed.
type Tick struct{}

func (Report) message()    {}
func (Command) message()   {}
func (Ready) message()     {}
func (Refusal) message()   {}
func (Emergency) message() {}
func (Tick) message()      {}
