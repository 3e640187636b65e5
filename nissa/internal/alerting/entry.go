package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// entry is one of the queue of who judges: a packet, or what somebody wants.
type entry struct {
	Packet      []byte           `json:"packet,omitempty"`
	Acknowledge *acknowledgement `json:"acknowledge,omitempty"`
	Silence     *alert.Silence   `json:"silence,omitempty"`
	EndSilence  *ending          `json:"end_silence,omitempty"`
	Told        []byte           `json:"told,omitempty"` // the packet that says who wants it
}

type acknowledgement struct {
	Alert string `json:"alert"`
	alert.Acknowledgement
}

// ending is that of a silence.
type ending struct {
	ID string `json:"id"`
	By string `json:"by"`
}

func (e entry) text() (string, error) {
	text, err := json.Marshal(e)
	return string(text), err
}

// take judges an entry. One that makes a rule panic must not keep the others from being judged.
func (d *Desk) take(text string, now time.Time) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic while something was judged: %v", cause)
		}
	}()
	var e entry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return fmt.Errorf("read what is to be judged: %w", err)
	}
	if e.Packet == nil {
		d.unsaved = true               // somebody waits to see it
		if d.possible(e, now) == nil { // it was when it was asked for
			d.grant(e, now)
		}
		return nil
	}
	packet := new(leyline.TelemetryPacket)
	if err := proto.Unmarshal(e.Packet, packet); err != nil {
		return fmt.Errorf("read what is to be judged: %w", err)
	}
	d.judge(packet, now)
	return nil
}

// ask has somebody's wish granted by who judges, and returns when all see that it is.
func (d *Desk) ask(ctx context.Context, wanted entry) error {
	d.mu.Lock()
	err := d.possible(wanted, d.now())
	if err == nil && d.seat == nil {
		d.grant(wanted, d.now())
	}
	d.mu.Unlock()
	if d.seat == nil {
		return err
	}
	if errors.Is(err, ErrUnknown) { // here, as yet: whoever asks may have seen it at another
		d.seat.await(ctx, heardTimeout, func() bool {
			err = d.possible(wanted, d.now())
			return err == nil || d.seat.token != 0
		})
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	told, at := wanted.telling(d.tracker), d.now()
	d.mu.Unlock()
	wish, err := wishOf(wanted, told, at)
	if err != nil {
		return err
	}
	place, err := d.seat.store.Wish(ctx, wish)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	d.seat.await(ctx, grantTimeout, func() bool { return d.seat.written >= place })
	return nil
}

// wishOf is what is wanted as it is put into the store: with the packet that tells of it, which stands in the feed
// when the wish is there, whether or not the bus can be told.
func wishOf(wanted entry, told *leyline.TelemetryPacket, at time.Time) (_ runs.Message, err error) {
	if wanted.Told, err = proto.Marshal(told); err != nil {
		return runs.Message{}, fmt.Errorf("tell what somebody wants: %w", err)
	}
	text, err := wanted.text()
	return runs.Message{Payload: told, At: at, Judge: text}, err
}

// telling is the packet that tells of a wish: the one that the store has, if it does.
func (e entry) telling(of *alert.Tracker) *leyline.TelemetryPacket {
	told := new(leyline.TelemetryPacket)
	if e.Told != nil && proto.Unmarshal(e.Told, told) == nil {
		return told
	}
	switch {
	case e.Acknowledge != nil:
		ack := e.Acknowledge
		a, _ := of.Get(ack.Alert)
		return asked("alert_acknowledged", ack.By, ack.Comment, "alert", ack.Alert, "rule", a.Rule, "source", a.Source)
	case e.Silence != nil:
		s := e.Silence
		pairs := []string{"silence", s.ID, "rule", s.Rule, "source", s.Source, "until", s.Until.UTC().Format(time.RFC3339)}
		for name, text := range s.Labels {
			pairs = append(pairs, "label_"+name, text)
		}
		return asked("silence_begun", s.By, s.Comment, pairs...)
	case e.EndSilence != nil:
		return asked("silence_ended", e.EndSilence.By, "", "silence", e.EndSilence.ID)
	default:
		return told
	}
}
