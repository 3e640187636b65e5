package graft_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"

	"github.com/esper-lite/weatherlight/kasmina/graft"
)

// fakeHost keeps one number that trains, and counts calls.
type fakeHost struct {
	value     float32
	scopes    []graft.Scope
	optimizer map[string]float32
	err       error
}

func (h *fakeHost) Snapshot(string) any { return h.value }

func (h *fakeHost) Restore(snapshot any, scope graft.Scope) error {
	h.scopes = append(h.scopes, scope)
	h.value, _ = snapshot.(float32)
	return h.err
}

func (h *fakeHost) Optimizer(_ string, parameters map[string]float32) error {
	h.optimizer = maps.Clone(parameters)
	return h.err
}

// keepingHost is one whose snapshots can be written down.
type keepingHost struct{ fakeHost }

func (h *keepingHost) EncodeSnapshot(snapshot any) ([]byte, error) {
	value, ok := snapshot.(float32)
	if !ok {
		return nil, errRefused
	}
	return binary.LittleEndian.AppendUint32(nil, math.Float32bits(value)), h.err
}

func (h *keepingHost) DecodeSnapshot(content []byte) (any, error) {
	if len(content) != 4 {
		return nil, errRefused
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(content)), nil
}

// keeping gives a graft a host.
func keeping(host graft.Host) func(*graft.Config) {
	return func(c *graft.Config) { c.Host = host }
}

var errRefused = errors.New("refused")
