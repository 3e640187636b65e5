package page

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func ask(t *testing.T, path string, header map[string]string) *http.Response {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	served, _ := Handler(false)
	served.ServeHTTP(recorder, request)
	return recorder.Result()
}

func bodyOf(t *testing.T, response *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestPageIsSmall: all that a browser fetches of the page stays far below 200 KB.
func TestPageIsSmall(t *testing.T) {
	const most = 200 << 10
	plain, packed := 0, 0
	_, paths := Handler(false)
	for _, path := range paths {
		whole := bodyOf(t, ask(t, path, nil))
		small := ask(t, path, map[string]string{"Accept-Encoding": "gzip"})
		if small.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s is not packed: %v", path, small.Header)
		}
		content := bodyOf(t, small)
		reader, err := gzip.NewReader(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if unpacked, err := io.ReadAll(reader); err != nil || !bytes.Equal(unpacked, whole) {
			t.Errorf("%s is another when packed: %v", path, err)
		}
		plain, packed = plain+len(whole), packed+len(content)
	}
	t.Logf("%d bytes, %d packed", plain, packed)
	if len(paths) != 4 || packed > most || plain > 2*most {
		t.Errorf("%d bytes, %d packed, of %q", plain, packed, paths)
	}
}

// TestPageIsClosedIn: neither foreign content nor script or style within the markup.
func TestPageIsClosedIn(t *testing.T) {
	_, paths := Handler(false)
	for _, path := range paths {
		response := ask(t, path, nil)
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(policy, "unsafe") ||
			!strings.Contains(policy, "require-trusted-types-for 'script'") || response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, response.Header)
		}
		text := string(bodyOf(t, response))
		for _, address := range regexp.MustCompile(`https?://[^"'\s)]*`).FindAllString(text, -1) {
			if address != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names %s", path, address)
			}
		}
		for _, writes := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"} {
			if strings.Contains(text, writes) {
				t.Errorf("%s has %s", path, writes)
			}
		}
	}
	index := string(bodyOf(t, ask(t, "/", nil)))
	if regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:[^>]*)>[^<]`).MatchString(index) {
		t.Error("the markup has script or style of its own")
	}
}

func TestPageThatIsKnownIsNotSentAgain(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		first := ask(t, "/page.js", map[string]string{"Accept-Encoding": encoding})
		again := ask(t, "/page.js", map[string]string{"Accept-Encoding": encoding, "If-None-Match": first.Header.Get("ETag")})
		if again.StatusCode != http.StatusNotModified || len(bodyOf(t, again)) != 0 {
			t.Errorf("%q: %d %v", encoding, again.StatusCode, again.Header)
		}
	}
}

func TestOtherPathsAreNotThere(t *testing.T) {
	for _, path := range []string{"/index.html", "/dist/page.js", "/../page.go", "/nothing"} {
		if response := ask(t, path, nil); response.StatusCode == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
}

func TestPageIsToldOfAlerts(t *testing.T) {
	for alerts, want := range map[bool]string{false: `content="runs"`, true: `content="runs alerts"`} {
		recorder := httptest.NewRecorder()
		served, _ := Handler(alerts)
		served.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		if !strings.Contains(recorder.Body.String(), want) {
			t.Errorf("%v: %s", alerts, recorder.Body)
		}
	}
}
