package policy

import (
	"context"
	"errors"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"maps"
	"strings"
	"testing"
	"time"
)

// The attributes of the envelope of an update whose payload is elsewhere.
const (
	attributeChecksum = "payload_sha256"
	attributeSize     = "payload_bytes"
)

// A payload above the bound of an envelope lies elsewhere, and is named by its checksum.
func TestR16PayloadByReferenceIsFetchedAndCompared(t *testing.T) {
	whole := strings.Repeat("w", 300<<10)
	reference := payloads.ReferTo([]byte(whole)).Attributes()
	with := func(name, text string) map[string]string {
		changed := maps.Clone(reference)
		if changed[name] = text; text == "" {
			delete(changed, name)
		}
		return changed
	}
	away := errors.New("the store is away")
	for name, test := range map[string]struct {
		attributes map[string]string
		beside     string // payload in the update itself
		found      string
		fails      error
		max        int
		reason     string
		err        error
	}{
		"whole":             {attributes: reference, found: whole},
		"sum in capitals":   {attributes: with(attributeChecksum, strings.ToUpper(reference[attributeChecksum])), found: whole},
		"not there":         {attributes: reference, fails: ErrNoPayload, reason: ReasonMissing},
		"store is away":     {attributes: reference, fails: away, err: away},
		"another":           {attributes: reference, found: strings.Repeat("v", 300<<10), reason: ReasonMismatch},
		"longer":            {attributes: reference, found: whole + "w", reason: ReasonMismatch},
		"shorter":           {attributes: reference, found: whole[1:], reason: ReasonMismatch},
		"of another size":   {attributes: with(attributeSize, "1"), found: whole, reason: ReasonMismatch},
		"too large":         {attributes: reference, max: 299 << 10, fails: errors.New("fetched"), reason: ReasonTooLarge},
		"payload twice":     {attributes: reference, beside: "x", reason: ReasonInvalid},
		"no size":           {attributes: with(attributeSize, ""), reason: ReasonInvalid},
		"size of nothing":   {attributes: with(attributeSize, "0"), reason: ReasonInvalid},
		"no checksum":       {attributes: with(attributeChecksum, ""), reason: ReasonInvalid},
		"path for checksum": {attributes: with(attributeChecksum, "../../etc/passwd"), reason: ReasonInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			policies := openStore(t, Config{MaxPayload: test.max, Fetch: func(_ context.Context, sum string, limit int) ([]byte, error) {
				if sum != reference[attributeChecksum] {
					t.Errorf("asks for %q", sum)
				}
				return []byte(test.found)[:min(limit, len(test.found))], test.fails
			}})
			err := policies.Accept(t.Context(), update("p", "v1", time.Now(), test.beside), test.attributes)
			switch {
			case test.reason != "":
				wantRejected(t, err, test.reason)
			case test.err != nil:
				var rejected *RejectedError
				if !errors.Is(err, test.err) || errors.As(err, &rejected) {
					t.Errorf("got %v, want one worth a retry", err)
				}
			case err != nil || payloadOf(t, policies) != whole:
				t.Errorf("got %v", err)
			}
			if _, found := policies.Recent(); found != (test.reason == "" && test.err == nil) {
				t.Errorf("taken in: %v", found)
			}
		})
	}
}

func TestR16WhatWouldBeRefusedIsNotFetched(t *testing.T) {
	fetched := false
	policies := openStore(t, Config{Fetch: func(context.Context, string, int) ([]byte, error) {
		fetched = true
		return nil, ErrNoPayload
	}})
	now := time.Now()
	if err := policies.Accept(t.Context(), update("p", "v2", now, "two"), nil); err != nil {
		t.Fatal(err)
	}
	old := update("q", "v1", now.Add(-time.Minute), "")
	wantRejected(t, policies.Accept(t.Context(), old, payloads.ReferTo([]byte("one")).Attributes()), ReasonSuperseded)
	if fetched {
		t.Error("the payload was fetched")
	}
}
