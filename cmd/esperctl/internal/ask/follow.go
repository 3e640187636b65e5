package ask

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// silence is how long a stream may say nothing: it sends a sign of life each 15 s.
	silence = 45 * time.Second
	// again is the pause before a stream that broke off is asked for anew.
	again = time.Second
	// maxLine bounds one line of a stream.
	maxLine = 4 << 20
)

// Event is one of a stream.
type Event struct {
	Kind string
	Data []byte
}

// Follow calls each with what a stream of server-sent events says, from where it stands now,
// until ctx is done or each fails. A stream that breaks off is taken up where it was; that it
// cannot be reached in the beginning is an error.
func (s *Service) Follow(ctx context.Context, path string, query url.Values, each func(Event) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := &following{service: s, path: path, query: maps.Clone(query), each: func(event Event) {
		if err := each(event); err != nil {
			stop(err)
		}
	}}
	for {
		err := f.once(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !f.heard {
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// following is one stream over its connections.
type following struct {
	service *Service
	path    string
	query   url.Values // with the place that it is at
	each    func(Event)
	heard   bool
}

// once reads one connection to its end.
func (f *following) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	response, err := f.service.send(ctx, http.MethodGet, f.path, f.query, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	f.heard = true
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	return f.read(ctx, response.Body, func() { quiet.Reset(silence) })
}

func (f *following) read(ctx context.Context, from io.Reader, alive func()) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	var event Event
	for ctx.Err() == nil && lines.Scan() {
		alive()
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			f.at(value)
		case "event":
			event.Kind = value
		case "data":
			event.Data = append(event.Data, value...)
		case "":
			if event.Kind != "" {
				f.each(event)
			}
			event = Event{}
		}
	}
	return lines.Err()
}

// at notes the place behind which the next connection goes on.
func (f *following) at(place string) {
	if f.query == nil {
		f.query = url.Values{}
	}
	f.query.Set("after", place)
}
