package weatherlight

import (
	"context"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// probeInterval is the pause between two questions that cost a query.
const probeInterval = 5 * time.Second

// rarely makes a look that asks at most once in probeInterval while all is well. What it
// found is asked again in each round: a trouble must last to be an alarm, and an
// answer that is repeated says nothing of that.
func rarely(look func(context.Context) []finding) func(context.Context) []finding {
	var asked time.Time
	var found []finding
	return func(ctx context.Context) []finding {
		now := time.Now()
		if len(found) > 0 || asked.IsZero() || now.Sub(asked) >= probeInterval-healthInterval/2 {
			found, asked = look(ctx), now
		}
		return found
	}
}

// lookAtLibrary finds a catalogue that does not answer, also when nobody else
// asks it anything.
func (s *Service) lookAtLibrary(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	if err := s.library.Ping(ctx); err != nil {
		return []finding{{detail: fmt.Sprintf("%s: %v", s.settings.Urza.DatabaseURL.String(), err)}}
	}
	return nil
}

// contested finds runs for which two trainers report.
func contested(runs *control.Room) func(context.Context) []finding {
	return func(context.Context) []finding {
		trainers := runs.Contested(time.Now().Add(-2 * healthInterval))
		var found []finding
		for _, run := range sortedNames(trainers) {
			found = append(found, finding{run, fmt.Sprintf("trainer %q reports too, and is refused", trainers[run])})
		}
		return found
	}
}

// lookAtOutbox finds messages that the bus will never accept. They stay in the
// file until a person has looked at them.
func (s *Service) lookAtOutbox(ctx context.Context) []finding {
	_, refused, err := s.outbox.Waiting(ctx)
	if err != nil || refused == 0 {
		return nil // A file that cannot be read fails the worker that drains it.
	}
	return []finding{{detail: fmt.Sprintf("%d messages in outbox.db were refused for good", refused)}}
}
