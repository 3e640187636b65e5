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
)

// entry is one of the queue of who judges: a packet, or what somebody wants.
type entry struct {
	Packet      []byte           `json:"packet,omitempty"`
	Acknowledge *acknowledgement `json:"acknowledge,omitempty"`
	Silence     *alert.Silence   `json:"silence,omitempty"`
	EndSilence  *ending          `json:"end_silence,omitempty"`
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
	text, err := wanted.text()
	if err != nil {
		return err
	}
	place, err := d.seat.store.Wish(ctx, text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	d.seat.await(ctx, grantTimeout, func() bool { return d.seat.written >= place })
	return nil
}
