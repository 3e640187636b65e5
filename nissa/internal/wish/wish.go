// Package wish reads what somebody wants changed over HTTP: a JSON object that says who asks.
// The rooms that serve alerts and dead letters embed Who in theirs, and answer by Answer and
// Refuse.
package wish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

const (
	maxBody = 64 << 10
	maxText = 1024
)

// Who says who asks for a change, and why.
type Who struct {
	By      string `json:"by"`
	Comment string `json:"comment,omitempty"`
}

// Texts are those of a wish that are bounded. The first says who asks.
func (w Who) Texts() []string { return []string{w.By, w.Comment} }

// Handler reads a wish from the body of a request, or refuses it.
func Handler[W interface{ Texts() []string }](next func(http.ResponseWriter, *http.Request, W)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var wanted W
		err := decode(w, r, &wanted)
		if err == nil {
			err = check(wanted.Texts())
		}
		if err != nil {
			Refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		next(w, r, wanted)
	})
}

func decode(w http.ResponseWriter, r *http.Request, to any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return errors.New("the body must be application/json")
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		return fmt.Errorf("the body is not understood: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one value in the body")
	}
	return nil
}

func check(texts []string) error {
	if strings.TrimSpace(texts[0]) == "" {
		return errors.New("by must say who asks")
	}
	for _, text := range texts {
		if len(text) > maxText {
			return fmt.Errorf("a text is longer than %d bytes", maxText)
		}
	}
	return nil
}

// Refuse answers why not.
func Refuse(w http.ResponseWriter, status int, why string) {
	Answer(w, status, map[string]string{"error": why})
}

// Answer is JSON that nobody keeps and no page takes for anything else.
func Answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away; nothing to tell it
}
