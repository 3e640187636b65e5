// Package page serves the page of Nissa: what a browser draws of /api. Its sources are in
// src, what is served is built of them into dist (make gen).
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

var (
	//go:embed dist/index.html
	index []byte
	//go:embed dist/page.js
	script []byte
	//go:embed dist/page.css
	style []byte
	//go:embed dist/icon.svg
	icon []byte
)

// policy lets the page do what it does: its own files, its own Nissa, and the pictures that
// it makes. No text becomes markup, whoever asks for it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves the page at / and its files beside it, and tells the paths of all of them. The page asks for alerts
// and objectives when they are served.
func Handler(alerts bool) (served http.Handler, paths []string) {
	start := index
	if alerts {
		start = bytes.Replace(index, []byte(`content="runs"`), []byte(`content="runs alerts"`), 1)
	}
	mux := http.NewServeMux()
	for _, f := range []struct {
		path, media string
		content     []byte
	}{
		{"/", "text/html; charset=utf-8", start},
		{"/page.js", "text/javascript; charset=utf-8", script},
		{"/page.css", "text/css; charset=utf-8", style},
		{"/icon.svg", "image/svg+xml", icon},
	} {
		pattern := "GET " + f.path
		if f.path == "/" {
			pattern += "{$}" // and nothing below it
		}
		mux.Handle(pattern, newFile(f.content, f.media))
		paths = append(paths, f.path)
	}
	return mux, paths
}

// file is one that is served, packed when the client takes it so.
type file struct {
	media, tag      string
	content, packed []byte
}

func newFile(content []byte, media string) *file {
	sum := sha256.Sum256(content)
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(content) // a buffer takes all
	_ = writer.Close()
	return &file{media, hex.EncodeToString(sum[:8]), content, packed.Bytes()}
}

func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, tag, header := f.content, `"`+f.tag+`"`, w.Header()
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body, tag = f.packed, `"`+f.tag+`-gzip"`
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Type", f.media)
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-cache") // asked for again each time, and sent when it is another
	header.Set("Vary", "Accept-Encoding")
	header.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client went away; nothing to tell it
}
